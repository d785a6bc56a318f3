-- When sub-window i of a window W in k parts has left it: start(i + k + 1).

local function leaves(i, W, k)
  return math.ceil((i + k + 1) * W / k)
end

-- Caller by caller: what goes wrong for one is its own.

local function decide_all()
  while ARGV[arg_at] do
    local s, before, lease, wanted = tonumber(ARGV[arg_at]), key_at, arg_at, 0
    if ahead[s] then
      lease = lease + 1
      wanted = tonumber(ARGV[lease])
    end
    -- The next one first: who fails is left behind.
    key_at, arg_at = key_at + charge_counts[s], lease + lease_counts[s] + 1
    if holds[s] then
      decide(s, before, lease, wanted)
    else
      replied = replied + 1
      reply[replied] = -1
    end
  end
end

while ARGV[arg_at] do
  local done, why = pcall(decide_all)
  if not done then
    reply[replied + 1], reply[replied + 2] = -2, type(why) == 'table' and why.err or tostring(why)
    replied = replied + 2
  end
end

-- Tries each command that the scripts call, on keys of its own: which of them this user may not call, or were renamed.
--
-- KEYS[1]  a hash, KEYS[2] a sorted set and KEYS[3] a text, which nobody else has; all of them in one slot
-- ARGV     nothing
-- Returns  two for each command that failed: its name, and the error; nothing where all of them work
--
-- The keys are gone at the end, or within a second.

local hash, zset, text = KEYS[1], KEYS[2], KEYS[3]
local failed = {}

local function try(command, ...)
  local reply = redis.pcall(command, ...)
  local why = type(reply) == 'table' and reply.err
  if why then
    failed[#failed + 1], failed[#failed + 2] = command, why
  end
  return not why
end

try('TIME')
try('HMGET', hash, 'h', 's')
try('HGET', hash, 'h')
try('HGETALL', hash)
try('ZCOUNT', zset, '-inf', '+inf')
try('ZCARD', zset)
try('ZSCORE', zset, 'a')
try('ZMSCORE', zset, 'a')
try('ZRANGEBYSCORE', zset, '-inf', '+inf')
try('PTTL', zset)
try('GET', text)
-- What takes away, before what makes something that has to be taken away.
local goes = try('DEL', hash)
local expires = try('PEXPIRE', hash, 1000)
try('HDEL', hash, 'h')
try('ZREM', zset, 'a')
try('ZREMRANGEBYSCORE', zset, '-inf', '+inf')
try('SET', text, '1', 'EX', '1')
if goes or expires then
  try('HSET', hash, 'h', '1')
  try('ZADD', zset, 1, 'a')
  for _, key in ipairs(KEYS) do
    redis.pcall('PEXPIRE', key, 1000)
    redis.pcall('DEL', key)
  end
end
return failed

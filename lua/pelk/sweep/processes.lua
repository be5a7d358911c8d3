--- Trials in processes of their own, as many at a time as there are workers, through libuv.
local core = require("pelk.core")
local options = require("pelk.options")
local here = require("pelk.sweep.here")

local Processes = {}
Processes.__index = Processes

local GRACE = 60

local function load_uv()
  local ok, uv = pcall(require, "luv")
  if ok then return uv end
  options.raise("sweep: processes need luv (Debian: apt-get install lua-luv; elsewhere: luarocks install luv); "
    .. "workers = 1 with a function as objective does without")
end

--- The interpreter this program runs in: what stands before the script in `arg`.
local function interpreter()
  local words = rawget(_G, "arg") or {}
  local i = 0
  while words[i - 1] do i = i - 1 end
  return i < 0 and words[i] or "lua5.4"
end

--- @tab o threads of each
function Processes.new(o)
  local uv = load_uv()
  local self = setmetatable({ uv = uv, running = {}, count = 0, over = {}, threads = o.threads,
    interpreter = interpreter() }, Processes)
  self.timer = uv.new_timer()
  self.timer:start(200, 200, function() end) -- wakes run("once"), so that signals are seen
  return self
end

function Processes:environment(trial)
  local env = {}
  local more = { PELK_SWEEP_TRIAL = trial.folder, PELK_SWEEP_WORKER = "1", PELK_NUM_THREADS = tostring(self.threads),
    LUA_PATH_5_4 = package.path, LUA_CPATH_5_4 = package.cpath, LUA_INIT = "", LUA_INIT_5_4 = "" }
  for name, value in pairs(self.uv.os_environ()) do
    if more[name] == nil then env[#env + 1] = name .. "=" .. value end
  end
  for name, value in pairs(more) do
    if value ~= "" then env[#env + 1] = name .. "=" .. value end
  end
  return env
end

--- Start a trial, whose config.json is written.
function Processes:start(trial)
  local uv = self.uv
  os.remove(trial.folder .. "/result.json") -- of an earlier attempt: what is found there later is this one's
  local log = assert(uv.fs_open(trial.folder .. "/log.txt", "a", 420))
  local entry = { trial = trial, began = core.clock() }
  local handle, pid = uv.spawn(self.interpreter, { args = { "-e", "require('pelk.sweep.worker')()" },
    env = self:environment(trial), stdio = { nil, log, log } }, function(code, signal)
    entry.handle:close()
    self.running[trial.id], self.count = nil, self.count - 1
    self.over[#self.over + 1] = { entry = entry, code = code, signal = signal } -- luv exits when a callback raises
  end)
  uv.fs_close(log)
  if not handle then error(("sweep: cannot start %s: %s"):format(self.interpreter, pid), 0) end
  entry.handle, entry.pid = handle, pid
  self.running[trial.id], self.count = entry, self.count + 1
end

local function tail(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local size = file:seek("end")
  file:seek("set", math.max(0, size - 2000))
  local text = file:read("a")
  file:close()
  return (here.utf8_text(text):gsub("%s+$", ""))
end

--- How a process ended: by its result.json, or without one.
local function outcome_of(entry, code, signal)
  local found = here.outcome(entry.trial.folder)
  if found then return found end
  local seconds = core.clock() - entry.began
  if code == here.BUSY then return { state = "busy" } end
  if signal ~= 0 then return { state = "killed", error = ("killed by signal %d"):format(signal), seconds = seconds } end
  return { state = "failed", seconds = seconds, error = ("the process ended with status %d and no result: %s"):format(
    code, tail(entry.trial.folder .. "/log.txt")) }
end

--- Wait a little for something to happen.
-- @treturn table {{trial=, outcome=}, ...} of the processes that ended
function Processes:step()
  if self.deadline and core.clock() > self.deadline then
    for _, entry in pairs(self.running) do entry.handle:kill("sigkill") end
    self.deadline = nil
  end
  self.uv.run("once")
  local over = self.over
  self.over = {}
  for i, e in ipairs(over) do
    over[i] = { trial = e.entry.trial, outcome = outcome_of(e.entry, e.code, e.signal) }
  end
  return over
end

--- Ask all to save and end. SIGTERM, for Ctrl-C in a terminal has reached them already, and a second of a kind kills.
-- One that has not ended after GRACE seconds is killed, and goes on from its last checkpoint another time.
function Processes:stop()
  for _, entry in pairs(self.running) do entry.handle:kill("sigterm") end
  self.deadline = core.clock() + GRACE
end

function Processes:close()
  self.timer:close()
  self.uv.run("nowait")
end

return Processes

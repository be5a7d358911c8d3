--- The loop of a sweep: trials begun, ended, paused and resumed, with the journal telling of each before the next.
local core = require("pelk.core")
local Journal = require("pelk.sweep.journal")
local Live = require("pelk.sweep.live")
local Processes = require("pelk.sweep.processes")
local here = require("pelk.sweep.here")
local pruner = require("pelk.sweep.pruner")

local Run = {}
Run.__index = Run

local RESTARTS = 2 -- of a trial whose process is killed

--- The state a trial is left in by what is known of it, or nil when it is to run.
function Run.settled(known, retry)
  local state = known and known.state
  if state == "done" or state == "stopped" or state == "paused" then return state end
  if state == "failed" and not retry then return state end
end

--- @tab o what pelk.sweep checked; trials (of this share), journal, known (what the journals say)
function Run.new(o)
  local self = setmetatable({ o = o, journal = o.journal, waiting = {}, paused = {}, kills = {} }, Run)
  self.live = Live.new { name = o.name or o.dir, total = #o.trials, columns = o.columns, goal = o.goal,
    quiet = not o.progress, block = o.processes }
  for _, trial in ipairs(o.trials) do
    trial.folder = ("%s/trials/%s"):format(o.dir, trial.id)
    local known = o.known[trial.id]
    local state = Run.settled(known, o.retry)
    if state == "paused" and not o.pruner then state = nil end -- nothing would ever resume it
    if state == "paused" then self.paused[trial.id] = trial end
    if state then
      self.live:count(state, known.value, trial.params)
    else
      self.waiting[#self.waiting + 1] = trial
    end
  end
  return self
end

local function config_of(self, trial)
  local o = self.o
  return { id = trial.id, params = trial.params, folder = trial.folder, dir = o.dir, goal = o.goal, metric = o.metric,
    pruner = o.pruner, threads = o.threads, script = o.script, arguments = o.arguments, objective = o.objective_kind,
    quiet = not o.progress }
end

--- Note that a trial begins, in the journal and its folder.
function Run:begin(trial)
  self.o.known[trial.id] = nil -- what earlier sweeps left of it is no news any more
  here.write_config(config_of(self, trial))
  self.journal:write { event = "begin", id = trial.id, params = trial.params }
end

--- A trial is over for now. One that another process still runs, or whose process was killed, is taken up again later.
function Run:ended(trial, outcome)
  local state = outcome.state
  if state == "busy" then
    self.busy[#self.busy + 1] = trial
    return
  end
  if state == "killed" then
    self.kills[trial.id] = (self.kills[trial.id] or 0) + 1
    if self.kills[trial.id] <= RESTARTS and not self.stopping then
      table.insert(self.waiting, 1, trial)
      return
    end
    outcome.state = self.stopping and "waiting" or "failed"
  end
  local entry = { event = "end", id = trial.id, state = outcome.state, value = outcome.value,
    metrics = outcome.metrics and next(outcome.metrics) and outcome.metrics or nil, seconds = outcome.seconds }
  if outcome.error then entry.error = here.utf8_text(tostring(outcome.error)) end
  self.o.known[trial.id] = nil
  self.journal:write(entry)
  if outcome.state == "paused" then self.paused[trial.id] = trial end
  self.live:ended(trial, outcome)
end

--- The paused trial that goes on now, or nil.
-- @bool idle nothing runs and nothing waits: then the best of them goes on, unless a trial came to its end before
function Run:promoted(idle)
  local ids = {}
  for id in pairs(self.paused) do ids[#ids + 1] = id end
  if #ids == 0 then return nil end
  table.sort(ids)
  local values = pruner.values(self.o.dir, self.o.goal)
  local id = self.o.pruner:promote(values, ids)
  if id or not idle then return id end
  for other, t in pairs(Journal.fold(self.o.dir)) do
    if t.state == "done" then return nil end
    if t.state == "failed" then values[other] = nil end
  end
  return self.o.pruner:promote(values, ids, true)
end

--- The next trial to run: a paused one that earned it, a new one, or one that another process may have left.
-- @int running how many run at the moment
function Run:next(running)
  local id = self.o.pruner and self:promoted(running + #self.waiting + #self.busy == 0)
  if not id then return table.remove(self.waiting, 1) end
  local trial = self.paused[id]
  self.paused[id] = nil
  self.live:resumed()
  return trial
end

--- A result that a worker of an earlier, killed sweep left; its trial need not run again.
function Run:adopt(trial)
  local known = self.o.known[trial.id]
  if not (known and known.state == "running") then return false end
  local found = here.outcome(trial.folder)
  if not found or not Run.settled(found, self.o.retry) then return false end
  self:ended(trial, found)
  return true
end

-- ---- trials that other processes still run ----

--- A trial's progress file is locked as long as a process runs it.
local function is_free(trial)
  local file, _, taken = core.journal(trial.folder .. "/progress.jsonl")
  if file then file:close() end
  return not taken
end

--- Does another process run it? Then it is looked at again later.
function Run:is_busy(trial)
  if not core.list_dir(trial.folder) or is_free(trial) then return false end
  self.busy[#self.busy + 1] = trial
  return true
end

--- Workers of an earlier sweep may have outlived it: their results are adopted when they are over.
function Run:look_at_busy()
  for i = #self.busy, 1, -1 do
    if is_free(self.busy[i]) then table.insert(self.waiting, 1, table.remove(self.busy, i)) end
  end
end

function Run:wait_for_busy()
  while #self.waiting == 0 and #self.busy > 0 and not core.signal_seen() do
    core.sleep(0.2)
    self:look_at_busy()
  end
end

-- ---- in this process ----

function Run:here()
  local threads = core.threads()
  core.set_threads(self.o.threads)
  local ok, message = pcall(core.with_signals, function()
    local trial = self:next(0)
    while trial do
      if not self:is_busy(trial) and not self:adopt(trial) then
        self:begin(trial)
        if self.o.progress then io.stderr:write("trial ", self.live:label(trial.params), "\n") end
        self:ended(trial, here.run(config_of(self, trial), self.o.objective))
      end
      if core.signal_seen() then break end
      if #self.waiting == 0 then self:wait_for_busy() end
      trial = self:next(0)
    end
    self.interrupted = core.signal_seen()
  end)
  core.set_threads(threads)
  if not ok then error(message, 0) end
end

-- ---- in processes of their own ----

function Run:start_some(processes)
  while processes.count < self.o.workers do
    local trial = self:next(processes.count)
    if not trial then return end
    if not self:is_busy(trial) and not self:adopt(trial) then
      self:begin(trial)
      processes:start(trial)
    end
  end
end

--- Start, wait and note until nothing is left, or a signal came and all have saved.
function Run:supervise(processes)
  while true do
    if core.signal_seen() and not self.stopping then
      self.stopping, self.interrupted = true, core.signal_seen()
      processes:stop()
    end
    if not self.stopping then
      self:look_at_busy()
      self:start_some(processes)
    end
    if processes.count == 0 and (self.stopping or #self.busy == 0) then return end
    for _, over in ipairs(processes:step()) do self:ended(over.trial, over.outcome) end
    self.live:tick(processes.running, processes.count)
  end
end

function Run:in_processes()
  local processes = Processes.new { threads = self.o.threads }
  local ok, message = pcall(core.with_signals, self.supervise, self, processes)
  if not ok then -- the journal cannot be written, say: no worker is left behind
    processes:stop()
    while processes.count > 0 do processes:step() end
  end
  processes:close()
  if not ok then error(message, 0) end
end

--- Run what is left.
-- @treturn string the signal that ended it early, or nil
function Run:all()
  self.busy = {}
  if self.o.processes then self:in_processes() else self:here() end
  self.live:close()
  return self.interrupted
end

return Run

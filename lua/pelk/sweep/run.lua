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
local function settled(known, retry)
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
    local state = settled(known, o.retry)
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
  if outcome.error then entry.error = tostring(outcome.error):gsub("[\128-\255]+", "?") end
  self.journal:write(entry)
  if outcome.state == "paused" then self.paused[trial.id] = trial end
  self.live:ended(trial, outcome)
end

--- The next trial to run: a paused one that earned it, a new one, or one that another process may have left.
function Run:next()
  if self.o.pruner and next(self.paused) then
    local ids = {}
    for id in pairs(self.paused) do ids[#ids + 1] = id end
    table.sort(ids)
    local id = self.o.pruner:promote(pruner.values(self.o.dir, self.o.goal), ids)
    if id then
      local trial = self.paused[id]
      self.paused[id] = nil
      self.live:resumed()
      return trial
    end
  end
  return table.remove(self.waiting, 1)
end

--- A result that a worker of an earlier, killed sweep left; its trial need not run again.
function Run:adopt(trial)
  local known = self.o.known[trial.id]
  if not (known and known.state == "running") then return false end
  local found = here.outcome(trial.folder)
  if not found or (found.state ~= "done" and found.state ~= "paused" and found.state ~= "stopped") then return false end
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

--- Workers of an earlier sweep may have outlived it: their results are adopted when they are over.
function Run:look_at_busy()
  for i = #self.busy, 1, -1 do
    if is_free(self.busy[i]) then table.insert(self.waiting, 1, table.remove(self.busy, i)) end
  end
end

function Run:wait_for_busy()
  while #self.waiting == 0 and not core.signal_seen() do
    os.execute("sleep 0.5")
    self:look_at_busy()
  end
end

-- ---- in this process ----

function Run:here()
  core.with_signals(function()
    for trial in self.next, self do
      if not self:adopt(trial) then
        self:begin(trial)
        if self.o.progress then io.stderr:write("trial ", self.live:label(trial.params), "\n") end
        self:ended(trial, here.run(config_of(self, trial), self.o.objective))
      end
      if core.signal_seen() then break end
      if #self.waiting == 0 and #self.busy > 0 then self:wait_for_busy() end
    end
    self.interrupted = core.signal_seen()
  end)
end

-- ---- in processes of their own ----

function Run:start_some(processes)
  while processes.count < self.o.workers do
    local trial = self:next()
    if not trial then return end
    if core.list_dir(trial.folder) and not is_free(trial) then
      self.busy[#self.busy + 1] = trial
    elseif not self:adopt(trial) then
      self:begin(trial)
      processes:start(trial)
    end
  end
end

function Run:in_processes()
  local processes = Processes.new { workers = self.o.workers, threads = self.o.threads,
    on_end = function(trial, outcome) self:ended(trial, outcome) end }
  core.with_signals(function()
    while true do
      if core.signal_seen() and not self.stopping then
        self.stopping, self.interrupted = true, core.signal_seen()
        processes:stop()
      end
      if not self.stopping then
        self:look_at_busy()
        self:start_some(processes)
      end
      if processes.count == 0 and (self.stopping or #self.busy == 0) then break end
      processes:step()
      self.live:tick(processes.running, processes.count)
    end
  end)
  processes:close()
end

--- Run what is left.
-- @treturn string the signal that ended it early, or nil
function Run:all()
  self.busy = {}
  if self.o.processes then self:in_processes() else self:here() end
  self.live:close()
  return self.interrupted
end

--- The journals of all shares as one: journal.jsonl, which is what read sees afterwards.
-- @treturn int how many journals were merged; or nil, message
function Run.merge(dir)
  local paths = Journal.paths(dir)
  if #paths == 0 then return nil, ("%s: holds no sweep (no journal.jsonl)"):format(dir) end
  local main, why = Journal.open(dir, { index = 1, count = 1 })
  if not main then return nil, why end
  local merged = 0
  for _, path in ipairs(paths) do
    if path ~= main.path then
      local file, message, taken = core.journal(path)
      if not file then return nil, taken and path .. ": its share still runs" or message end
      for _, event in ipairs(Journal.lines(path)) do main:write(event) end
      file:close()
      assert(os.remove(path))
      merged = merged + 1
    end
  end
  main:close()
  return merged
end

return Run

--- A trial run in this process, from its beginning or its checkpoint to result.json.
local core = require("pelk.core")
local json = require("pelk.json")
local options = require("pelk.options")
local Trial = require("pelk.sweep.trial")

local here = {}

--- The trial that runs in this process at the moment: what sweep.trial() gives to a script.
here.current = nil

--- Status of a process whose trial is run by another one already.
here.BUSY = 75

--- The table that a JSON file holds, or nil.
function here.read_json(path)
  local value = json.read(path)
  return type(value) == "table" and value or nil
end

--- How a trial in a folder ended, or nil.
function here.outcome(folder) return here.read_json(folder .. "/result.json") end

--- What an objective gave, as value and metrics: a number, a table with value, or nothing after reports.
local function settle(trial, given)
  if math.type(given) then
    trial:finish(given)
  elseif type(given) == "table" then
    local metrics = {}
    for name, value in pairs(given) do if name ~= "value" then metrics[name] = value end end
    if given.value == nil then error("sweep: the objective gave a table without value", 0) end
    trial:finish(given.value, metrics)
  elseif given ~= nil then
    error(("sweep: the objective gave a %s, a number or {value = ...} is wanted"):format(type(given)), 0)
  end
  local last = trial.curve[#trial.curve]
  if not trial.final and not last then error("sweep: the objective gave no value and reported none", 0) end
  return trial.final or last.value
end

-- ---- what an objective may do to us ----

--- Text that JSON can say: what is no UTF-8 becomes "?".
function here.utf8_text(text) return utf8.len(text) and text or (text:gsub("[\128-\255]", "?")) end

local function explain(e)
  if type(e) == "table" and (Trial.ended(e) or e.exit ~= nil) then return e end
  local shown, text = pcall(tostring, e)
  return here.utf8_text(debug.traceback(shown and type(text) == "string" and text or type(e), 2))
end

--- f() in which os.exit ends the objective and not the process: other trials wait.
local function without_exit(f)
  local exit = os.exit
  rawset(os, "exit", function(code) error({ exit = code == nil or code == true or code == 0 or code }, 0) end)
  local results = table.pack(pcall(f))
  rawset(os, "exit", exit)
  return table.unpack(results, 1, results.n)
end

local LOOK_EVERY = 1000000 -- instructions of Lua between looks for a signal

--- f() in which a signal ends Lua code that reports nothing; pelk.train sees signals itself and saves.
local function interruptible(trial, f)
  if debug.gethook() then return f() end -- a debugger's
  debug.sethook(function()
    if core.signal_seen() and not trial.training then error(Trial.end_as("waiting"), 0) end
  end, "", LOOK_EVERY)
  local results = table.pack(pcall(f))
  debug.sethook()
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- What the objective gave, or how it ended instead: true and the value, or false and a message or an Ended.
local function attempt(trial, objective)
  local function explained() return xpcall(objective, explain, trial.params, trial) end
  local fine, ok, given = without_exit(function() return interruptible(trial, explained) end)
  if not fine then return false, ok end -- a signal, outside the objective
  if not ok and type(given) == "table" and given.exit ~= nil then
    if given.exit ~= true then return false, ("the objective called os.exit(%s)"):format(tostring(given.exit)) end
    ok, given = true, nil
  end
  if not ok then return false, given end
  return pcall(settle, trial, given)
end

--- The objective called, and what came of it: {state, value, metrics, error}.
local function call(trial, objective)
  local ok, value = attempt(trial, objective)
  local outcome = { metrics = trial.metrics }
  local state = not ok and Trial.ended(value) or ok and trial.verdict
  local last = trial.curve[#trial.curve]
  if state then
    outcome.state, outcome.value = state, last and last.value
  elseif ok then
    outcome.state, outcome.value = "done", value
  elseif core.signal_seen() then
    outcome.state = "waiting"
  else
    outcome.state, outcome.error = "failed", value
  end
  return outcome
end

--- A line in the trial's log.txt, behind what a process of its own printed there.
local function note(folder, text)
  local file = io.open(folder .. "/log.txt", "a")
  if not file then return end
  file:write(os.date("%Y-%m-%d %H:%M:%S  "), text, "\n")
  file:close()
end

local function summary_of(outcome)
  local value = outcome.value and ("  value %.10g"):format(outcome.value) or ""
  local why = outcome.error and "\n" .. tostring(outcome.error) or ""
  return ("%s%s  after %.1f s%s"):format(outcome.state, value, outcome.seconds, why)
end

--- Run one trial.
-- @tab o id, params, folder, dir, goal, metric, pruner, threads, quiet
-- @func objective function(params, trial)
-- @treturn table {state = "done"|"failed"|"paused"|"stopped"|"waiting"|"busy", value, metrics, error, seconds}
function here.run(o, objective)
  local trial, message, taken = Trial.open(o)
  if taken then return { state = "busy" } end
  if not trial then error("sweep: " .. message, 0) end
  trial.quiet = o.quiet
  os.remove(o.folder .. "/result.json")
  local before, began = here.current, core.clock()
  here.current = trial
  local last = trial.curve[#trial.curve]
  note(o.folder, last and ("goes on after epoch %d"):format(last.epoch) or "begins")
  local outcome = core.with_signals(function() return call(trial, objective) end)
  here.current = before
  outcome.seconds = core.clock() - began
  note(o.folder, summary_of(outcome))
  local ok, why = trial:write_summary()
  if ok then ok, why = core.write_file(o.folder .. "/result.json", json.encode(outcome, "  ") .. "\n") end
  trial:close()
  if not ok then error("sweep: " .. why, 0) end
  return outcome
end

--- Write config.json: all that another process needs to run the trial.
function here.write_config(o)
  local ok, message = core.make_dir(o.folder)
  if ok then
    local config = {}
    for _, name in ipairs { "id", "params", "dir", "goal", "metric", "threads", "script", "arguments", "objective" } do
      config[name] = o[name]
    end
    if o.pruner then
      config.pruner = {}
      for key, value in pairs(o.pruner) do config.pruner[key] = value end
    end
    ok, message = core.write_file(o.folder .. "/config.json", json.encode(config, "  ") .. "\n")
  end
  if not ok then error("sweep: " .. message, 0) end
end

--- A trial's config.json; raises when there is none.
function here.read_config(folder)
  local config = here.read_json(folder .. "/config.json")
  if not config or type(config.params) ~= "table" then
    options.raise(("sweep: %s holds no trial (no config.json with params)"):format(folder))
  end
  return config
end

return here

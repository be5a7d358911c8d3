--- The process of one trial. The sweep starts it as
--
--     PELK_SWEEP_TRIAL=dir/trials/ID PELK_SWEEP_WORKER=1 lua5.4 -e "require('pelk.sweep.worker')()"
--
-- and it runs the script of config.json: the objective's own, or the one that called pelk.sweep, whose call then runs
-- the trial and ends the script.
local here = require("pelk.sweep.here")
local pruner = require("pelk.sweep.pruner")

local worker = {}

--- What ends the script that called pelk.sweep, once the trial is over.
local over = setmetatable({}, { __tostring = function() return "the trial of this process is over" end })

--- The trial's folder when this process is to run one (or to run one again), and whether a sweep started it.
function worker.asked()
  local folder = os.getenv("PELK_SWEEP_TRIAL")
  if not folder or folder == "" then return nil end
  return folder, os.getenv("PELK_SWEEP_WORKER") == "1"
end

--- Is the trial in a folder one of the sweep in dir?
function worker.is_of(folder, dir) return here.read_config(folder).dir == dir end

--- What here.run wants, of a folder's config.json.
function worker.options(folder)
  local o = here.read_config(folder)
  o.folder, o.pruner, o.quiet = folder, pruner.of(o.pruner), false
  return o
end

--- Called by pelk.sweep in a worker: run the trial with this objective, and end the script.
function worker.run(folder, objective)
  worker.finish(here.run(worker.options(folder), objective))
  error(over, 0)
end

--- Another process runs the trial: say so by the status.
function worker.finish(outcome)
  if outcome.state == "busy" then os.exit(here.BUSY, true) end
end

--- Run a script as the interpreter does.
-- @tab config script (its path), arguments
function worker.run_script(config)
  local chunk, message = loadfile(config.script)
  if not chunk then error(message, 0) end
  local arguments, before = { [0] = config.script }, rawget(_G, "arg")
  for i, word in ipairs(config.arguments or {}) do arguments[i] = word end
  for i = -1, -99, -1 do -- the interpreter and its options
    if not (before and before[i]) then break end
    arguments[i] = before[i]
  end
  rawset(_G, "arg", arguments)
  local _ <close> = setmetatable({}, { __close = function() rawset(_G, "arg", before) end })
  return chunk(table.unpack(arguments))
end

local function main()
  local folder = worker.asked()
  local config = here.read_config(folder)
  if config.objective == "script" then
    worker.finish(here.run(worker.options(folder), function() return worker.run_script(config) end))
    return
  end
  local ok, e = xpcall(worker.run_script, function(e)
    return e == over and e or debug.traceback(tostring(e), 2)
  end, config)
  if not ok and e ~= over then error(e, 0) end
  if ok then error(("%s ended without calling pelk.sweep"):format(config.script), 0) end
end

return setmetatable(worker, { __call = main })

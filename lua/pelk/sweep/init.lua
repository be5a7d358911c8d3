--- Sweeps: the same experiment over a space of options, in a folder that survives everything.
--
--     local sweep = pelk.sweep
--     local results = sweep {
--       dir = "sweeps/kernels",
--       space = { kernels = sweep.choice { { 7, 7, 7 }, { 31, 15, 7 } }, lr = sweep.log_uniform(1e-3, 1e-2) },
--       search = "random", trials = 12,
--       objective = function(params, trial)
--         local model = pelk.models.create("pelk_nano", { kernels = params.kernels })
--         trial:train { model = model, train = train, val = test, epochs = 3,
--           optimizer = { name = "adamw", lr = params.lr } }
--       end,
--     }
--     print(results:sort())
-- @module pelk.sweep
local core = require("pelk.core")
local options = require("pelk.options")
local show = require("pelk.show")
local Journal = require("pelk.sweep.journal")
local Results = require("pelk.sweep.results")
local Run = require("pelk.sweep.run")
local here = require("pelk.sweep.here")
local plan = require("pelk.sweep.plan")
local pruner = require("pelk.sweep.pruner")
local share = require("pelk.sweep.share")
local space = require("pelk.sweep.space")
local worker = require("pelk.sweep.worker")

local sweep = { choice = space.choice, uniform = space.uniform, log_uniform = space.log_uniform,
  integer = space.integer, asha = pruner.asha, median = pruner.median, read = Results.read,
  merge = require("pelk.sweep.merge") }

local rules = {
  space = { "table" },
  search = { "string|table", "grid" },
  trials = { "integer", 20, 1 },
  seed = { "integer", 1, 0 },
  constraint = { "function" },
  objective = { "function|string" },
  workers = { "integer", 1, 1 },
  threads = { "integer", nil, 1 },
  pruner = { "table" },
  dir = { "string" },
  name = { "string" },
  resume = { "boolean", true },
  retry = { "boolean", false },
  goal = { "string", "max" },
  metric = { "string" },
  dry_run = { "boolean", false },
  plan = { "function" },
  progress = { "boolean", true },
}

-- ---- checks ----

local function check_choice(name, value, ...)
  for _, known in ipairs { ... } do if value == known then return end end
  options.raise(("sweep: %s must be %s, got '%s'"):format(name, table.concat({ ... }, " or "), tostring(value)))
end

local function is_file(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

--- The script that this program runs, and its arguments; nil in the REPL.
local function own_script()
  local words = rawget(_G, "arg")
  if type(words) ~= "table" or type(words[0]) ~= "string" or not words[0]:find("%.lua$") or not is_file(words[0]) then
    return nil
  end
  return words[0], table.move(words, 1, #words, 1, {})
end

--- How many threads may run at once: a core each; more than them only when the environment says so.
local function available() return math.max(core.config().cores, core.threads()) end

local function check_workers(o)
  local cores = available()
  if o.workers > cores then
    options.raise(("sweep: %d workers on %d cores: at most one worker a core"):format(o.workers, cores))
  end
end

local function check_objective(o)
  if not o.objective then options.raise("sweep: objective is required: function(params, trial), or a script's path") end
  local script, arguments = own_script()
  if type(o.objective) == "string" then
    if not is_file(o.objective) then options.raise(("sweep: the objective %s is not there"):format(o.objective)) end
    o.script, o.arguments, o.objective_kind, o.processes = o.objective, {}, "script", true
  else
    o.script, o.arguments, o.objective_kind, o.processes = script, arguments, "function", o.workers > 1
    if o.processes and not script then
      options.raise("sweep: workers > 1 with a function as objective starts the calling script again in each worker, "
        .. "but there is none here (the REPL, or -e): put the sweep into a file, or give a script's path")
    end
  end
end

--- As many threads for each worker as the cores allow.
local function check_threads(o)
  local cores = available()
  if not o.threads then
    o.threads = o.processes and math.max(1, math.min(core.threads(), cores // o.workers)) or core.threads()
  elseif o.workers * o.threads > cores then
    options.raise(("sweep: %d workers x %d threads are more than the %d cores"):format(o.workers, o.threads, cores))
  end
end

local function check(o)
  if not o.dir then options.raise("sweep: dir is required: the folder of the sweep") end
  if type(o.search) == "string" then check_choice("search", o.search, "grid", "random") end
  check_choice("goal", o.goal, "max", "min")
  if o.pruner and not pruner.is(o.pruner) then
    options.raise("sweep: pruner must be sweep.asha{...} or sweep.median{...}")
  end
  check_workers(o)
  check_objective(o)
  check_threads(o)
end

-- ---- the whole ----

--- The processor's name where the system tells it.
local function processor()
  local file = io.open("/proc/cpuinfo")
  local name = file and file:read("a"):match("model name%s*:%s*([^\n]+)")
  if file then file:close() end
  return name and utf8.len(name) and name or "unknown processor"
end

local function machine(o)
  local c = core.config()
  return ("%s, %d cores, %s kernels, %d x %d threads, pelk %s"):format(processor(), c.cores, c.isa, o.workers,
    o.threads, c.version)
end

local function announce(o, all)
  local list = {}
  for i, trial in ipairs(all) do list[i] = { id = trial.id, params = trial.params } end
  o.journal:write { event = "sweep", name = o.name, goal = o.goal, metric = o.metric, machine = machine(o),
    columns = o.columns, trials = list }
end

--- A new folder for a trial that is run again by hand.
local function again_folder(folder)
  local n = 1
  while core.list_dir(("%s/again-%d"):format(folder, n)) do n = n + 1 end
  return ("%s/again-%d"):format(folder, n)
end

--- A trial run again by hand, apart from the sweep's files: the command of its row.
local function again(folder, o)
  local config = worker.options(folder)
  config.folder, config.pruner, config.quiet = again_folder(folder), nil, false
  here.write_config(config)
  local outcome = here.run(config, o.objective)
  return Results.make({ { id = config.id, params = config.params, state = outcome.state, value = outcome.value,
    metrics = outcome.metrics or {}, curve = {}, error = outcome.error, seconds = outcome.seconds,
    folder = config.folder } }, { dir = o.dir, name = o.name, goal = o.goal, metric = o.metric, machine = machine(o) })
end

local function count_done(trials, known, retry)
  local done, left = 0, {}
  for _, trial in ipairs(trials) do
    local state = Run.settled(known[trial.id], retry)
    if state and state ~= "paused" then done = done + 1 else left[#left + 1] = trial end
  end
  return done, left
end

--- Say what a crash left in the journals, before the next writer cuts it off.
local function tell_damage(o)
  local _, damaged = Journal.events(o.dir)
  if damaged > 0 and o.progress then
    io.stderr:write(("sweep: %s: %d damaged lines of the journal are left out\n"):format(o.dir, damaged))
  end
end

--- Has this folder a sweep of before? What the other shares of this one announced does not count.
local function holds_sweep(o)
  for _, path in ipairs(Journal.paths(o.dir)) do
    local index = Journal.share(path)
    local other = index and index ~= o.share.index and index <= o.share.count
    if not other and #Journal.lines(path) > 0 then return true end
  end
  return false
end

local function run(o, all)
  local message
  tell_damage(o)
  o.journal, message = Journal.open(o.dir, o.share)
  if not o.journal then options.raise("sweep: " .. message) end
  local ok, interrupted = pcall(function()
    o.known = Journal.fold(o.dir) -- now that nobody else writes there
    if not o.resume and holds_sweep(o) then
      options.raise(("sweep: %s holds a sweep already: resume = true goes on with it; another dir begins a new one")
        :format(o.dir))
    end
    announce(o, all)
    return Run.new(o):all()
  end)
  o.journal:close()
  if not ok then error(interrupted, 0) end
  local results = Results.read(o.dir)
  results.interrupted = interrupted
  if interrupted and o.progress then
    io.stderr:write(("sweep stopped by %s; the same call goes on\n"):format(interrupted))
  end
  return results
end

--- Run a sweep, or go on with it: trials that are done do not run again, interrupted ones go on from checkpoints.
-- @tab given
--   dir: the folder (journal.jsonl, trials/ID/...);
--   space: nested options; sweep.choice{...}, uniform(a,b), log_uniform(a,b), integer(a,b) say what varies;
--   search="grid", "random" (trials=20, seed=1), or a list of tables that are laid over the space;
--   constraint=function(params): false leaves a trial out;
--   objective: function(params, trial), called in this process, or for workers > 1 in processes that run the calling
--     script again; or the path of a script for a process a trial, in which sweep.trial() gives the trial. It returns a
--     number, {value=, more numbers}, or nothing after trial:report or trial:train;
--   workers=1 and threads (of each; default: the cores divided, or fewer where the library is set to): together at
--     most the cores;
--   pruner=sweep.asha{reduction=3, min_epochs=1, max_epochs=} or sweep.median{warmup=1, min_trials=3};
--   goal="max"|"min", metric: the column of pelk.train's rows that trial:train reports (default: EMA's or plain top-1);
--   resume=true, retry=false: run failed trials again; name, progress=true;
--   dry_run=false: give the plan instead: parameters, multiply-adds and time of each trial. The objective is called up
--     to its trial:train for it; or plan=function(params) -> {model=, image_size=, channels=, images=, batch=} says it
-- Under mpirun or in a Slurm array each process takes its share of the trials and writes a journal of its own;
-- sweep.merge(dir) makes them one.
-- @treturn Results (sweep.read gives the same); interrupted: the name of the signal that ended it. With dry_run a plan.
-- @raise for options that make no sense, and when another sweep runs in the folder
function sweep.run(given)
  local o = options.read("sweep", given, rules)
  check(o)
  local folder, is_worker = worker.asked()
  if folder and not worker.is_of(folder, o.dir) then return Results.read(o.dir) end -- another sweep of the same script
  if folder then
    if is_worker then return worker.run(folder, o.objective) end
    return again(folder, o)
  end
  local all = space.trials(o)
  o.share, o.columns = share.of_environment(), space.columns(all)
  o.trials = share.of(all, o.share)
  if o.dry_run then
    local done, left = count_done(o.trials, (Journal.fold(o.dir)), o.retry)
    local objective = o.objective_kind == "script" and function() worker.run_script(o) end or o.objective
    return plan.make(left, { columns = o.columns, done = done, workers = o.workers, threads = o.threads,
      objective = objective, plan = o.plan })
  end
  return run(o, all)
end

--- In a script that is an objective: its trial. Run by hand, without a sweep, the script gets one of the parameters
-- given, in a folder of its own.
-- @tab[opt] defaults parameters for a run by hand
-- @string[opt="runs/trial-ID"] out its folder then; the default is another one for other parameters
-- @treturn Trial id, params, folder, threads; report, train, model, finish
function sweep.trial(defaults, out)
  if here.current then return here.current end
  local folder = worker.asked()
  local config = folder and worker.options(folder) or { id = space.id(defaults or {}), params = defaults or {} }
  config.folder = folder and again_folder(folder) or out or "runs/trial-" .. config.id
  config.pruner = nil
  here.current = assert(require("pelk.sweep.trial").open(config))
  return here.current
end

--- Write the report of a sweep's folder: one HTML page that stands alone. sweep.report(dir, {path =, title =,
-- kernels = 3}) gives the path, or nil, message; see pelk.sweep.report.
function sweep.report(dir, given) return require("pelk.sweep.report").folder(dir, given) end

show.part("pelk.sweep", sweep)
getmetatable(sweep).__call = function(_, given) return sweep.run(given) end

return sweep

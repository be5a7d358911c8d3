-- Sweeps: spaces and ids, the journal, kills of the parent, of workers and of everything, retries, shares, pruners on
-- real checkpoints, plans and exports.
local core = require("pelk.core")
local help = require("spec.help")
local pelk = require("pelk")
local Journal = require("pelk.sweep.journal")
local sweep = pelk.sweep

local dir
before_each(function() dir = help.folder() end)
after_each(function() help.remove(dir) end)

local has_luv = pcall(require, "luv")

local function quiet(o)
  o.dir, o.progress = o.dir or dir .. "/sweep", false
  return sweep(o)
end

-- ---- a sweep in a process of its own ----

--- Write a script and return its path. D is the folder.
local function script(name, text)
  local path = ("%s/%s.lua"):format(dir, name)
  assert(core.write_file(path, "local pelk = require('pelk')\nlocal D = '" .. dir .. "'\n" .. text))
  return path
end

local environment = ("LUA_PATH='%s' LUA_CPATH='%s'"):format(package.path, package.cpath)

--- Run a script; returns whether it ended well and what it printed.
local function run(path, before, arguments)
  local pipe = io.popen(("%s %s timeout 60 lua5.4 %s %s 2>&1"):format(environment, before or "", path, arguments or ""))
  local text = pipe:read("a")
  return pipe:close() == true, text
end

--- Start a script in the background, wait until `ready` is a file, send a signal to its process (or, all = true, to
-- its whole group) and wait for its end.
local function kill_when(path, ready, signal, all)
  local text = ([[
    %s setsid lua5.4 %s >%s/killed.txt 2>&1 &
    n=0; while [ ! -e %s ] && [ $n -lt 400 ]; do sleep 0.05; n=$((n + 1)); done
    kill -%s %s$!; wait $!; exit 0]]):format(environment, path, dir, ready, signal, all and "-" or "")
  assert(core.write_file(dir .. "/kill.sh", text))
  assert(os.execute("sh " .. dir .. "/kill.sh 2>/dev/null"))
  assert(io.open(ready), "the script never came so far: " .. (help.read(dir .. "/killed.txt") or ""))
end

describe("a space", function()
  local seen
  local function objective(params)
    seen[#seen + 1] = params
    return 1
  end
  before_each(function() seen = {} end)

  it("is a grid of all choices, the last name fastest, lists as values", function()
    local r = quiet { objective = objective, space = { b = sweep.choice { 1, 2 }, a = sweep.choice { { 7, 7 }, { 15 } },
      c = { d = sweep.integer(3, 4), e = "x" } } }
    assert.equal(8, #r)
    assert.same({ b = 1, a = { 7, 7 }, c = { d = 3, e = "x" } }, seen[1])
    assert.same({ b = 1, a = { 7, 7 }, c = { d = 4, e = "x" } }, seen[2])
    assert.same({ b = 2, a = { 15 }, c = { d = 4, e = "x" } }, seen[8])
    assert.same({ "a", "b", "c.d" }, r.columns)
  end)

  it("leaves out what the constraint refuses", function()
    local r = quiet { objective = objective, space = { a = sweep.integer(1, 4), b = sweep.integer(1, 4) },
      constraint = function(p) return p.a < p.b end }
    assert.equal(6, #r)
    for _, p in ipairs(seen) do assert.truthy(p.a < p.b) end
    help.raises("constraint allows none", quiet, { dir = dir .. "/none", objective = objective,
      space = { a = 1 }, constraint = function() return false end })
  end)

  it("is drawn at random by the seed, within its bounds, evenly in the logarithm", function()
    local given = { space = { lr = sweep.log_uniform(1e-4, 1), n = sweep.integer(1, 3), u = sweep.uniform(-1, 1),
      c = sweep.choice { "x", "y" } }, search = "random", trials = 60, objective = objective }
    given.dir = dir .. "/one"
    local one = quiet(given)
    given.dir = dir .. "/two"
    local two = quiet(given)
    local low, hits = 0, {}
    for i, r in ipairs(one) do
      assert.equal(r.id, two[i].id)
      local p = r.params
      assert.truthy(p.lr >= 1e-4 and p.lr <= 1 and p.u >= -1 and p.u <= 1)
      low = low + (p.lr < 1e-2 and 1 or 0)
      hits[p.n] = true
    end
    assert.truthy(low > 15 and low < 45)
    assert.truthy(hits[1] and hits[2] and hits[3])
    given.dir, given.seed = dir .. "/three", 2
    assert.not_equal(one[1].id, quiet(given)[1].id)
    help.raises("a grid cannot take lr", quiet, { dir = dir .. "/grid", objective = objective,
      space = { lr = sweep.log_uniform(1e-4, 1) } })
  end)

  it("takes a list of trials laid over constants", function()
    local r = quiet { objective = objective, space = { model = { a = 1, b = 2 }, k = 5 },
      search = { { model = { a = 7 } }, { k = 6 }, { k = 6 } } }
    assert.equal(2, #r) -- the same twice runs once
    assert.same({ model = { a = 7, b = 2 }, k = 5 }, seen[1])
    assert.same({ model = { a = 1, b = 2 }, k = 6 }, seen[2])
  end)

  it("gives ids that are hashes of the parameters", function()
    local space = require("pelk.sweep.space")
    assert.equal(space.id { a = 1, b = { 2, 3 } }, space.id { b = { 2.0, 3 }, a = 1.0 })
    assert.not_equal(space.id { a = 1 }, space.id { a = 2 })
    assert.equal("08f44b07b5901a25", space.id {}) -- FNV-1a, 64 bits, of the text {}
  end)

  it("refuses what makes no sense", function()
    help.raises("unknown option 'spcae'", sweep, { spcae = {}, dir = dir, objective = objective })
    help.raises("dir is required", sweep, { objective = objective })
    help.raises("objective is required", sweep, { dir = dir })
    help.raises("search must be grid or random", sweep, { dir = dir, objective = objective, search = "gird" })
    help.raises("goal must be max or min", sweep, { dir = dir, objective = objective, goal = "best" })
    help.raises("more than the", sweep, { dir = dir, objective = objective, threads = 4096 })
    help.raises("4096 workers on", sweep, { dir = dir, objective = objective, workers = 4096 })
    help.raises("objective /nowhere.lua is not there", sweep, { dir = dir, objective = "/nowhere.lua" })
    help.raises("pruner must be", sweep, { dir = dir, objective = objective, pruner = {} })
    help.raises("list of values", sweep.choice, {})
    help.raises("the first smaller", sweep.uniform, 2, 1)
    help.raises("low must be above 0", sweep.log_uniform, 0, 1)
    help.raises("what JSON can say", quiet, { space = { f = print }, objective = objective })
  end)
end)

describe("a sweep", function()
  it("runs nothing twice, records failures and retries them when asked", function()
    local runs, broken = {}, true
    local given = { space = { a = sweep.integer(1, 3) }, objective = function(p)
      runs[#runs + 1] = p.a
      if p.a == 2 and broken then error("no luck") end
      return { value = 10 * p.a, loss = 1 / p.a }
    end }
    local r = quiet(given)
    assert.same({ 1, 2, 3 }, runs)
    assert.same({ "done", "failed", "done" }, { r[1].state, r[2].state, r[3].state })
    assert.truthy(r[2].error:find("no luck") and r[2].error:find("traceback"))
    assert.equal(30, r:best().value)
    quiet(given)
    assert.same({ 1, 2, 3 }, runs)
    broken, given.retry = false, true
    r = quiet(given)
    assert.same({ 1, 2, 3, 2 }, runs)
    assert.same({ "done", 20, 2 }, { r[2].state, r[2].value, r[2].attempts })
    assert.is_nil(r[2].error)
    given.space = { a = sweep.integer(1, 4) } -- the space grows: only what is new runs
    quiet(given)
    assert.same({ 1, 2, 3, 2, 4 }, runs)
    given.resume = false
    help.raises("holds a sweep already", quiet, given)
  end)

  it("says of a bad value whose it is", function()
    local values = { 0 / 0, "fast", { loss = 1 }, nil }
    local r = quiet { space = { a = sweep.integer(1, 4) }, objective = function(p) return values[p.a] end }
    for i, pattern in ipairs { "must be a finite number", "gave a string", "table without value", "gave no value" } do
      assert.equal("failed", r[i].state)
      assert.truthy(r[i].error:find(pattern), r[i].error)
    end
  end)

  it("survives a torn journal line and refuses a second writer", function()
    local n = 0
    local given = { space = { a = sweep.integer(1, 2) }, objective = function() n = n + 1 return n end }
    quiet(given)
    local path = dir .. "/sweep/journal.jsonl"
    local text = help.read(path)
    assert(core.write_file(path, text:sub(1, -10))) -- the end of trial 2 is lost
    assert.equal("running", sweep.read(dir .. "/sweep")[2].state)
    local r = quiet(given)
    assert.same({ "done", "done" }, { r[1].state, r[2].state })
    assert.equal(2, n) -- its result was on the disk
    for _, event in ipairs(Journal.lines(path)) do assert.is_table(event) end
    assert.equal(0, select(2, Journal.lines(path)))
    local held <close> = assert(core.journal(path)) -- luacheck: ignore
    help.raises("another sweep runs in this folder", quiet, given)
  end)

  it("leaves the journal whole when the disk is full", function()
    local journal <close> = assert(core.journal(dir .. "/j.jsonl"))
    assert(journal:append("one"))
    core._fail_file(1, "ENOSPC", true)
    local ok, message = journal:append("two")
    core._fail_file(0)
    assert.is_nil(ok)
    assert.truthy(message:find("No space left"))
    assert(journal:append("three"))
    assert.equal("one\nthree\n", help.read(dir .. "/j.jsonl"))
  end)

  it("reads the folder of no sweep as nil, message", function()
    local r, message = sweep.read(dir)
    assert.is_nil(r)
    assert.truthy(message:find("holds no sweep"))
  end)
end)

describe("results", function()
  local r
  before_each(function()
    r = quiet { goal = "min", space = { name = sweep.choice { "a|b", 'c"d_%' }, k = sweep.choice { { 1, 2 }, { 3 } } },
      objective = function(p) return { value = #p.name + #p.k, top1 = #p.k } end }
  end)

  it("print, sort and filter", function()
    local best = r:sort()
    assert.equal(4, best[1].value)
    assert.equal(7, best[4].value)
    assert.equal(4, r:best().value)
    assert.equal(2, r:sort("top1", true)[1].metrics.top1)
    assert.equal(2, #r:filter(function(x) return #x.params.k == 1 end))
    local text = tostring(best)
    assert.truthy(text:find("state  value  top1  seconds", 1, true))
    assert.equal(6, select(2, (text .. "\n"):gsub("\n", "")))
  end)

  it("go into CSV, Markdown and LaTeX with everything escaped", function()
    local csv = r:csv()
    assert.truthy(csv:find("^id,k,name,state,value,top1,seconds\n"))
    assert.truthy(csv:find('"[1,2]","c""d_%",done,7,2,', 1, true))
    assert.truthy(r:csv(dir .. "/x.csv"))
    assert.equal(csv, help.read(dir .. "/x.csv"))
    assert.truthy(r:markdown():find("| [3] | a\\|b | done | 4 | 1 |", 1, true))
    local latex = r:latex()
    assert.truthy(latex:find('{[}1,2] & c"d\\_\\% & done & 7 & 2 & ', 1, true))
    assert.equal(select(2, latex:gsub("{", "")), select(2, latex:gsub("}", "")))
  end)
end)

describe("shares", function()
  it("split the trials and are merged", function()
    local path = script("share", [[
      print(#pelk.sweep { dir = D .. "/sweep", progress = false, space = { a = pelk.sweep.integer(1, 5) },
        objective = function(p) return p.a end })]])
    assert(run(path, "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2"))
    local r = sweep.read(dir .. "/sweep")
    for i = 1, 5 do assert.equal(i % 2 == 1 and i or nil, r[i].value) end
    assert.equal("waiting", r[2].state)
    assert(run(path, "SLURM_ARRAY_TASK_ID=8 SLURM_ARRAY_TASK_MIN=7 SLURM_ARRAY_TASK_COUNT=2"))
    assert.same({ dir .. "/sweep/journal.1.jsonl", dir .. "/sweep/journal.2.jsonl" }, Journal.paths(dir .. "/sweep"))
    assert.equal(2, sweep.merge(dir .. "/sweep"))
    assert.same({ dir .. "/sweep/journal.jsonl" }, Journal.paths(dir .. "/sweep"))
    r = sweep.read(dir .. "/sweep")
    assert.equal(5, #r)
    for i = 1, 5 do assert.same({ "done", i }, { r[i].state, r[i].value }) end
  end)

  it("run under mpirun", function()
    if not os.execute("command -v mpirun >/dev/null") then
      pending("mpirun is not installed")
      return
    end
    local path = script("mpi", [[
      pelk.sweep { dir = D .. "/sweep", progress = false, space = { a = pelk.sweep.integer(1, 5) },
        objective = function(p) return p.a end }]])
    local ok, text = run("x", environment .. " mpirun --allow-run-as-root --oversubscribe -n 2 lua5.4 " .. path .. " #")
    assert(ok, text)
    assert.equal(2, sweep.merge(dir .. "/sweep"))
    for i, r in ipairs(sweep.read(dir .. "/sweep")) do assert.same({ "done", i }, { r.state, r.value }) end
  end)
end)

-- A small training as objective; touches D/epoch-A-E after each epoch. slow: so that there is time to kill it.
local training = [[
  local sweep = pelk.sweep
  local function train(p, trial)
    pelk.manual_seed(p.a)
    local x, y = pelk.randn { 32, 4 }, pelk.ones({ 32 }, { dtype = "int32" })
    local loader = pelk.data.loader(pelk.data.tensors(x, y), { batch = 8, shuffle = true, seed = p.a })
    trial:train { model = pelk.nn.Linear { in_features = 4, out_features = 3 }, train = loader, epochs = 4, seed = p.a,
      save_steps = 1, optimizer = { name = "adamw", lr = 0.01 }, callbacks = { epoch = function(row)
        io.open(("%s/epoch-%d-%d"):format(D, p.a, row.epoch), "w"):close()
        if SLOW and row.epoch == 2 then os.execute("sleep 1") end
      end } }
  end
]]

local function expect_all_done(n)
  local r = sweep.read(dir .. "/sweep")
  assert.equal(n, #r)
  for _, x in ipairs(r) do
    assert.equal("done", x.state, x.error)
    assert.equal(4, #x.curve)
    assert.equal(12 + 3, x.metrics.params)
  end
  return r
end

describe("a killed sweep", function()
  local function sweep_text(workers, slow)
    return ("local SLOW = %s\n"):format(slow) .. training .. ([[
      sweep { dir = D .. "/sweep", workers = %d, threads = 1, progress = false, space = { a = sweep.integer(1, 3) },
        objective = train }]]):format(workers)
  end

  it("goes on in this process, the running trial from its checkpoint, to the same values", function()
    kill_when(script("killed", sweep_text(1, true)), dir .. "/epoch-1-2", "KILL")
    assert.equal("running", sweep.read(dir .. "/sweep")[1].state)
    os.remove(dir .. "/epoch-1-1")
    assert(run(script("again", sweep_text(1, false))))
    local r = expect_all_done(3)
    assert.is_nil(io.open(dir .. "/epoch-1-1"), "the first epoch was trained again")
    local values = { r[1].value, r[2].value, r[3].value }
    help.remove(dir .. "/sweep")
    assert(run(dir .. "/again.lua"))
    r = expect_all_done(3)
    assert.same(values, { r[1].value, r[2].value, r[3].value })
  end)

  it("goes on when all its processes are killed", function()
    if not has_luv then return pending("lua-luv is not installed") end
    kill_when(script("killed", sweep_text(2, true)), dir .. "/epoch-1-2", "KILL", true)
    local ok, text = run(script("again", sweep_text(2, false)))
    assert(ok, text)
    expect_all_done(3)
  end)

  it("takes over what its workers finish after it was killed", function()
    if not has_luv then return pending("lua-luv is not installed") end
    kill_when(script("killed", sweep_text(2, true)), dir .. "/epoch-1-2", "KILL")
    local ok, text = run(script("again", sweep_text(2, false)))
    assert(ok, text)
    local r = expect_all_done(3)
    assert.equal(1, r[1].attempts)
  end)

  it("restarts a worker that is killed", function()
    if not has_luv then return pending("lua-luv is not installed") end
    local path = script("worker", [[local SLOW = false
      ]] .. training .. [[
      local function once(p, trial)
        local mark = D .. "/killed-" .. p.a
        if p.a == 2 and not io.open(mark) then
          io.open(mark, "w"):close()
          os.execute("kill -9 $PPID")
        end
        return train(p, trial)
      end
      local r = sweep { dir = D .. "/sweep", workers = 2, threads = 1, progress = false,
        space = { a = sweep.integer(1, 3) }, objective = once }]])
    local ok, text = run(path)
    assert(ok, text)
    assert.equal(2, expect_all_done(3)[2].attempts)
  end)

  it("saves and ends on SIGTERM, and goes on", function()
    if not has_luv then return pending("lua-luv is not installed") end
    kill_when(script("killed", sweep_text(2, true)), dir .. "/epoch-1-2", "TERM")
    assert.equal("waiting", sweep.read(dir .. "/sweep")[1].state)
    local ok, text = run(script("again", sweep_text(2, false)))
    assert(ok, text)
    expect_all_done(3)
  end)
end)

describe("a script as objective", function()
  it("runs in a process a trial, its failures are told, and a trial can be run again by hand", function()
    if not has_luv then return pending("lua-luv is not installed") end
    local path = script("objective", [[
      local trial = pelk.sweep.trial { a = 7 }
      if trial.params.a == 2 then error("two is bad") end
      if trial.params.a == 3 then os.exit(4) end
      trial:report(1, trial.params.a)
      print("ran", trial.params.a, os.getenv("PELK_NUM_THREADS"))
    ]])
    local r = quiet { objective = path, workers = 1, space = { a = sweep.integer(1, 3) } }
    assert.same({ "done", "failed", "failed" }, { r[1].state, r[2].state, r[3].state })
    assert.truthy(r[2].error:find("two is bad"))
    assert.truthy(r[3].error:find("os.exit(4)", 1, true))
    assert.truthy(help.read(r[1].folder .. "/log.txt"):find("ran\t1\t" .. core.config().cores))
    local ok, text = run("x", r[1].command:gsub("^(.-) lua5.4", "%1 " .. environment .. " lua5.4") .. " #")
    assert(ok, text)
    assert.truthy(text:find("ran\t1"))
    ok, text = run(path)
    assert(ok, text)
    assert.truthy(text:find("ran\t7"))
    os.execute("rm -rf runs/trial")
  end)
end)

describe("a pruner", function()
  local function trained(p, trial)
    pelk.manual_seed(1)
    local x, y = pelk.randn { 16, 4 }, pelk.ones({ 16 }, { dtype = "int32" })
    local loader = pelk.data.loader(pelk.data.tensors(x, y), { batch = 8, seed = 1 })
    local model = pelk.nn.Linear { in_features = 4, out_features = 3 }
    trial:train { model = model, train = loader, epochs = 9, seed = 1, progress = false,
      optimizer = { name = "sgd", lr = 0.001 * p.a } }
    return { value = trial.curve[#trial.curve].value, loss = -trial.curve[#trial.curve].value }
  end

  it("pauses all but the best third at epochs 1 and 3 and resumes who earns it from its checkpoint", function()
    local r = quiet { space = { a = sweep.choice { 9, 8, 7, 6, 5, 4, 3, 2, 1 } }, objective = trained,
      goal = "min", metric = "train_loss",
      pruner = sweep.asha { reduction = 3, min_epochs = 1 } }
    local epochs, done = {}, 0
    for i, x in ipairs(r) do
      epochs[i] = #x.curve
      if x.state == "done" then done = done + 1 else assert.equal("paused", x.state) end
    end
    assert.same({ 9, 3, 3, 1, 1, 1, 1, 1, 1 }, epochs) -- a larger rate is better here
    assert.same({ 1, "done" }, { done, r[1].state })
    for _, x in ipairs(r) do
      for e, row in ipairs(x.curve) do assert.equal(e, row.epoch) end
    end
  end)

  it("stops by the median rule", function()
    local r = quiet { space = { a = sweep.choice { 5, 6, 7, 1, 8 } },
      pruner = sweep.median { warmup = 2, min_trials = 3 },
      objective = function(p, trial)
        for e = 1, 4 do if trial:report(e, p.a + e / 10) == "stop" then return end end
      end }
    local states, epochs = {}, {}
    for i, x in ipairs(r) do states[i], epochs[i] = x.state, #x.curve end
    assert.same({ "done", "done", "done", "stopped", "done" }, states)
    assert.same({ 4, 4, 4, 2, 4 }, epochs)
  end)

  it("says what it does not take", function()
    help.raises("unknown option 'eta'", sweep.asha, { eta = 3 })
    help.raises("reduction must be above 1", sweep.asha, { reduction = 1 })
  end)
end)

describe("a dry run", function()
  it("plans parameters, multiply-adds and times, and runs nothing", function()
    local given = { dry_run = true, space = { k = sweep.choice { 7, 15 } }, objective = function() error("ran") end,
      plan = function(p)
        local model = pelk.models.create("pelk_nano", { kernels = { p.k, 7, 7 } })
        return { model = model, image_size = 28, images = 100, batch = 4 }
      end }
    local plan = quiet(given)
    assert.equal(2, #plan)
    for i, k in ipairs { 7, 15 } do
      local count = pelk.models.create("pelk_nano", { kernels = { k, 7, 7 } }):count { image_size = 28 }
      assert.same({ count.params, count.macs_run }, { plan[i].parameters, plan[i].macs })
      assert.truthy(plan[i].seconds > 0)
    end
    assert.truthy(tostring(plan):find("2 trials, 0 of them done, 1 workers: about"))
    assert.is_nil(core.list_dir(dir .. "/sweep"))
    given.plan = nil
    assert.truthy(tostring(quiet(given)):find("would fail: .*ran")) -- the objective itself is asked then
  end)
end)

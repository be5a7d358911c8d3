-- Sweeps in this process: what runs, what is kept, what an objective may do.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")
local help = require "spec.help"

local sweep = pelk.sweep

--- A sweep of a = 1..n in a folder; calls[a] counts the objective's calls.
local function run(dir, calls, given)
  local o = { dir = dir, space = { a = sweep.integer(1, given.n or 3) }, progress = false }
  for k, v in pairs(given) do if k ~= "n" then o[k] = v end end
  local objective = o.objective
  function o.objective(params, trial)
    calls[params.a] = (calls[params.a] or 0) + 1
    return objective(params, trial)
  end
  return sweep(o)
end

local function by_a(results)
  local out = {}
  for _, r in ipairs(results) do out[r.params.a] = r end
  return out
end

describe("a sweep", function()
  local dir, calls
  before_each(function() dir, calls = help.folder(true), {} end)
  after_each(function()
    core._fail_file(0)
    help.remove(dir)
  end)

  it("runs each trial once, in a folder of its own, and knows it all afterwards", function()
    local function objective(p, trial)
      assert.are.equal(p, trial.params)
      for epoch = 1, 2 do trial:report(epoch, 10 * p.a + epoch, { loss = 1 / epoch }) end
      if p.a == 2 then return { value = 99, params = 7 } end
      if p.a == 3 then return 5 end
    end
    local results = run(dir, calls, { objective = objective, name = "three" })
    assert.are.equal(3, #results)
    local r = by_a(results)
    assert.are.same({ 12, 99, 5 }, { r[1].value, r[2].value, r[3].value })
    assert.are.same({ { epoch = 1, value = 11, loss = 1 }, { epoch = 2, value = 12, loss = 0.5 } }, r[1].curve)
    assert.are.same({ loss = 0.5, params = 7 }, r[2].metrics)
    assert.are.same({ "a" }, results.columns)
    assert.are.same({ "three", "max", dir }, { results.name, results.goal, results.dir })
    assert.truthy(results.machine:find("%d+ cores, .* kernels, 1 x %d+ threads, pelk " .. pelk._VERSION))
    for _, record in ipairs(results) do
      assert.are.equal("done", record.state)
      assert.are.equal(("%s/trials/%s"):format(dir, record.id), record.folder)
      assert.are.same(record.params, json.decode(help.read(record.folder .. "/config.json")).params)
      assert.are.equal("epoch,value,loss\n", help.read(record.folder .. "/summary.csv"):match("^.-\n"))
      assert(record.seconds >= 0 and record.attempts == 1)
      local log = help.read(record.folder .. "/log.txt")
      assert.truthy(log:find(("begins\n.* done  value %d  after"):format(record.value)), log)
    end
    assert.are.equal(results:best().id, r[2].id)
    local again = run(dir, calls, { objective = objective, n = 4 })
    assert.are.same({ 1, 1, 1, 1 }, calls) -- only what is new
    assert.are.equal(4, #again)
    assert.are.same(r[1].curve, by_a(sweep.read(dir))[1].curve)
  end)

  it("records failures with their error, goes on, and runs them again only when asked", function()
    local broken = true
    local function objective(p)
      if not broken then return p.a end
      if p.a == 1 then error("out of luck \xff\xfe") end
      if p.a == 2 then error({ code = 3 }) end
      if p.a == 3 then return 0 / 0 end
      if p.a == 4 then return "four" end
      if p.a == 5 then return { top1 = 3 } end
      if p.a == 6 then os.exit(3) end
      if p.a == 8 then error(setmetatable({}, { __tostring = function() error("no text") end })) end
      if p.a == 9 then return { value = 1, epoch = 3 } end
      if p.a == 10 then return { value = 1, ["\xff"] = 3 } end
    end
    local results = run(dir, calls, { objective = objective, n = 11 })
    local r = by_a(results)
    local wanted = { "sweep_here_spec.lua:%d+: out of luck %?%?\nstack traceback", "table", "finite number, got %-?nan",
      "gave a string", "without value", "os.exit%(3%)", "gave no value", "table", "cannot be called epoch", "by name",
      "gave no value" }
    for a, pattern in ipairs(wanted) do
      assert.are.equal("failed", r[a].state)
      assert.truthy(r[a].error:find(pattern), r[a].error)
    end
    assert.is_nil(results:best())
    assert.truthy(tostring(results):find("out of luck"))
    run(dir, calls, { objective = objective, n = 11 })
    assert.are.equal(1, calls[1])
    broken = false
    results = run(dir, calls, { objective = objective, n = 11, retry = true })
    for a, record in pairs(by_a(results)) do
      assert.are.same({ "done", a, 2 }, { record.state, record.value, record.attempts })
      assert.is_nil(record.error)
    end
  end)

  it("takes os.exit(0) for the objective's end", function()
    local results = run(dir, calls, { n = 2, objective = function(p, trial)
      trial:report(1, p.a)
      os.exit()
    end })
    assert.are.same({ "done", "done" }, { results[1].state, results[2].state })
    assert.are.equal(2, results:best().value)
  end)

  it("refuses a second sweep in its folder, and to begin anew there", function()
    run(dir, calls, { n = 1, objective = function()
      help.raises("another sweep runs in this folder", run, dir, {}, { objective = function() return 1 end })
      return 1
    end })
    help.raises("holds a sweep already", run, dir, calls, { resume = false, objective = function() return 1 end })
    assert.are.same({ 1 }, calls)
  end)

  it("leaves out damaged lines, wherever they are, and goes on", function()
    run(dir, calls, { objective = function(p) return p.a end })
    local path, whole = dir .. "/journal.jsonl", help.read(dir .. "/journal.jsonl")
    local _, ends = whole:gsub("\n", "\n")
    assert.are.equal(7, ends)
    help.write(path, "\0\0\0\n" .. whole:sub(1, -20)) -- the last trial's end is torn
    local results = sweep.read(dir)
    assert.are.same({ "done", "done", "running" }, { results[1].state, results[2].state, results[3].state })
    results = run(dir, calls, { objective = function(p) return p.a end })
    assert.are.equal("done", results[3].state)
    assert.are.same({ 1, 1, 1 }, calls) -- its result.json told
    help.write(path, "3\n[]\n{\"event\":\"end\"}\n{\"event\":\"begin\",\"id\":7}\n{\"event\":\"sweep\",\"trials\":3}\n"
      .. "{\"event\":\"sweep\",\"trials\":[3,{},{\"id\":[]}]}\n{\"event\":\"end\",\"id\":\"x\",\"state\":3}\n"
      .. "{\"event\":\"what\"}\n" .. whole:sub(1, -2)) -- all there, but for the last line's end
    results = run(dir, calls, { objective = function(p) return p.a end })
    assert.are.same({ 1, 1, 1 }, calls)
    assert.are.equal(3, #results:filter(function(r) return r.state == "done" end))
    help.write(path, "")
    run(dir, calls, { objective = function(p) return p.a end })
    assert.are.same({ 2, 2, 2 }, calls) -- nothing is known any more
  end)

  it("stops when its disk is full, with what was written whole, and goes on later", function()
    for n = 1, 40, 3 do
      help.remove(dir)
      calls = {}
      local ok, message = pcall(run, dir, calls, { objective = function(p)
        if p.a == 2 then core._fail_file(n, "ENOSPC", true) end
        return p.a
      end })
      core._fail_file(0)
      if not ok then assert.truthy(message:find("No space left"), message) end
      assert.are.equal("done", by_a(sweep.read(dir))[1].state)
      local results = run(dir, calls, { objective = function(p) return p.a end })
      assert.are.equal(3, #results:filter(function(r) return r.state == "done" and r.value == r.params.a end))
      assert.are.equal(1, calls[1])
    end
  end)

  it("refuses what makes no sense", function()
    local function with(o)
      o.dir, o.progress = o.dir or dir, false
      if o.objective == nil then o.objective = function() return 1 end end
      return sweep(o)
    end
    help.raises("unknown option 'worker', did you mean 'workers'", with, { worker = 2 })
    help.raises("dir is required", sweep, { objective = function() end })
    help.raises("objective is required", sweep, { dir = dir })
    help.raises("the objective /none.lua is not there", with, { objective = "/none.lua" })
    help.raises("search must be grid or random, got 'bayes'", with, { search = "bayes" })
    help.raises("goal must be max or min", with, { goal = "best" })
    help.raises("pruner must be", with, { pruner = {} })
    help.raises("did you mean 'reduction'", sweep.asha, { reduktion = 3 })
    help.raises("above 1, got 1", sweep.asha, { reduction = 1 })
    help.raises("above min_epochs", sweep.asha, { min_epochs = 3, max_epochs = 3 })
    help.raises("warmup must be at least 1", sweep.median, { warmup = 0 })
    help.raises("more than the", with, { threads = 1000 })
    help.raises("one worker a core", with, { workers = 1000 })
    help.raises("what JSON can say", with, { space = { f = print } })
    assert.is_nil((sweep.read(dir .. "/none")))
    assert.is_nil((sweep.merge(dir .. "/none")))
    help.refuses("holds no sweep", sweep.read(dir))
    assert.is_nil(core.list_dir(dir)) -- nothing was made for them
  end)

  it("gives the number of threads back", function()
    local before = core.threads()
    local cores = core.config().cores
    run(dir, calls, { n = 1, threads = cores, objective = function(_, trial)
      assert.are.same({ cores, cores }, { core.threads(), trial.threads })
      return 1
    end })
    assert.are.equal(before, core.threads())
  end)

  it("keeps the best for which goal it has", function()
    local results = run(dir, calls, { goal = "min", objective = function(p) return (p.a - 2) ^ 2 end })
    assert.are.equal(2, results:best().params.a)
    assert.are.same({ 2, 1, 3 }, { results:sort()[1].params.a, results:sort()[2].params.a, results:sort()[3].params.a })
  end)

  it("tells the epochs whose report was lost between checkpoint and journal", function()
    local function train(_, trial)
      pelk.manual_seed(1)
      local set = pelk.data.tensors(pelk.randn { 16, 4 }, pelk.ones({ 16 }, { dtype = "int32" }))
      trial:train { model = pelk.nn.Linear { in_features = 4, out_features = 3 }, epochs = 3, seed = 1,
        train = pelk.data.loader(set, { batch = 8, seed = 1 }), optimizer = { name = "sgd", lr = 0.1 } }
    end
    local given = { dir = dir .. "/lost", space = {}, objective = train, progress = false, metric = "train_loss",
      goal = "min" }
    local whole = sweep(given)[1]
    assert.equal(3, #whole.curve)
    local lines = help.read(whole.folder .. "/progress.jsonl")
    help.write(whole.folder .. "/progress.jsonl", (lines:gsub("[^\n]*\n$", ""))) -- the last epoch was never told
    os.remove(whole.folder .. "/result.json")
    local events = help.read(dir .. "/lost/journal.jsonl")
    help.write(dir .. "/lost/journal.jsonl", (events:gsub("[^\n]*\n$", "")))
    local again = sweep(given)[1]
    assert.same({ "done", whole.value, 3 }, { again.state, again.value, #again.curve })
    assert.equal(whole.metrics.train_loss, again.metrics.train_loss)
  end)

  it("keeps the trainings of an objective apart", function()
    local firsts = {}
    local function folds(_, trial)
      for fold = 1, 2 do
        pelk.manual_seed(fold)
        local set = pelk.data.tensors(pelk.randn { 16, 4 }, pelk.ones({ 16 }, { dtype = "int32" }))
        local history = trial:train { model = pelk.nn.Linear(4, 3), epochs = 2, seed = 1,
          train = pelk.data.loader(set, { batch = 8, seed = 1 }), optimizer = { name = "sgd", lr = 0.1 } }
        firsts[fold] = history[1].train_loss
      end
    end
    local done = sweep({ dir = dir .. "/folds", space = {}, objective = folds, progress = false, metric = "train_loss",
      goal = "min" })[1]
    assert.are_not.equal(firsts[1], firsts[2])
    local epochs = {}
    for i, row in ipairs(done.curve) do epochs[i] = row.epoch end
    assert.same({ 1, 2, 3, 4 }, epochs)
    assert.truthy(help.read(done.folder .. "/run-2/summary.csv"))
  end)

  it("tells such epochs before later ones", function()
    local failed = false
    local function train(_, trial)
      pelk.manual_seed(1)
      local set = pelk.data.tensors(pelk.randn { 16, 4 }, pelk.ones({ 16 }, { dtype = "int32" }))
      trial:train { model = pelk.nn.Linear { in_features = 4, out_features = 3 }, epochs = 4, seed = 1,
        train = pelk.data.loader(set, { batch = 8, seed = 1 }), optimizer = { name = "sgd", lr = 0.1 }, save_steps = 1,
        callbacks = { epoch = function(row)
          if row.epoch == 2 and not failed then
            failed = true
            error("a callback that fails")
          end
        end } }
    end
    local given = { dir = dir .. "/late", space = {}, objective = train, progress = false, metric = "train_loss",
      goal = "min", retry = true }
    assert.equal("failed", sweep(given)[1].state)
    local again = sweep(given)[1]
    assert.equal("done", again.state)
    local epochs = {}
    for i, row in ipairs(again.curve) do epochs[i] = row.epoch end
    assert.same({ 1, 2, 3, 4 }, epochs)
    assert.equal(again.curve[4].value, again.value)
  end)

  it("does not take up what a signal interrupted as done", function()
    local function objective(p, trial)
      if p.a == 2 and calls[2] == 1 then os.execute("kill -TERM $PPID") end
      for epoch = 1, 3 do
        if trial:report(epoch, epoch) == "stop" then return end
      end
    end
    local results = run(dir, calls, { objective = objective })
    assert.are.equal("SIGTERM", results.interrupted)
    local r = by_a(results)
    assert.are.same({ "done", "waiting", "waiting" }, { r[1].state, r[2].state, r[3].state })
    results = run(dir, calls, { objective = objective })
    assert.is_nil(results.interrupted)
    assert.are.same({ 1, 2, 1 }, calls)
    assert.are.equal(3, #results:filter(function(record) return record.state == "done" end))
  end)

  it("is interrupted in Lua code that never reports", function()
    local results = run(dir, calls, { objective = function()
      os.execute("kill -TERM $PPID") -- system() would keep SIGINT from us
      while true do end -- luacheck: ignore
    end })
    assert.are.equal("SIGTERM", results.interrupted)
    assert.are.equal("waiting", results[1].state)
  end)
end)

describe("results", function()
  local dir, results
  setup(function()
    dir = help.folder(true)
    results = sweep { dir = dir, progress = false, search = { { lr = 0.1, name = "a|b", grid = { 1, 2 } },
      { lr = 0.01, name = "50%_x&y" }, { lr = 0.1, name = "say \"hi\",\nthere" }, { lr = 3, name = "fails" } },
      objective = function(p)
        if p.lr == 3 then error("no") end
        return { value = p.lr * 100, params = 1000 * p.lr, top1 = 50 }
      end }
  end)
  teardown(function() help.remove(dir) end)

  it("sort, filter and print", function()
    local sorted = results:sort()
    assert.are.same({ 10, 10, 1 }, { sorted[1].value, sorted[2].value, sorted[3].value })
    assert.is_nil(sorted[4].value) -- what has none comes last
    assert.are.equal("a|b", sorted[1].params.name) -- and equals stay in order
    assert.are.equal(1, results:sort("params")[1].value)
    assert.are.equal(10, results:sort("params", true)[1].value)
    assert.are.equal("fails", results:sort("lr", true)[1].params.name)
    assert.are.equal("50%_x&y", results:sort("name")[1].params.name)
    assert.are.equal(2, #results:filter(function(r) return r.value == 10 end))
    local lines = {}
    for line in tostring(results):gmatch("[^\n]+") do lines[#lines + 1] = line end
    assert.truthy(lines[1]:find("lr +name +state +value +top1 +params"))
    assert.truthy(tostring(results):find("failed: .*no"))
  end)

  it("go into CSV, Markdown and LaTeX, whatever the values hold", function()
    local csv = results:csv()
    assert.truthy(csv:find("id,grid,lr,name,state,value,top1,params,seconds\n", 1, true), csv)
    assert.truthy(csv:find('"say ""hi"",\nthere"', 1, true), csv)
    assert(results:csv(dir .. "/table.csv"))
    assert.are.equal(csv, help.read(dir .. "/table.csv"))
    help.refuses("No such file", results:csv(dir .. "/none/table.csv"))
    local markdown = results:markdown()
    local rows = 0
    for line in markdown:gmatch("[^\n]+") do
      rows = rows + 1
      local _, bars = line:gsub("\\|", ""):gsub("|", "|")
      assert.are.equal(9, bars, line)
    end
    assert.are.equal(6, rows)
    local latex = results:latex()
    assert.truthy(latex:find("50\\%\\_x\\&y", 1, true))
    local _, ands = latex:gsub("\n[^\n]-[^\\]\\\\", "")
    assert.are.equal(5, ands)
  end)

  it("compile as LaTeX where it is installed", function()
    if not os.execute("command -v pdflatex >/dev/null 2>&1") then
      pending("pdflatex is not installed")
      return
    end
    help.write(dir .. "/t.tex", "\\documentclass{article}\\usepackage{booktabs}\\begin{document}" .. results:latex()
      .. "\\end{document}")
    assert.is_true(os.execute(("cd '%s' && pdflatex -interaction=batchmode t.tex >/dev/null"):format(dir)))
  end)
end)

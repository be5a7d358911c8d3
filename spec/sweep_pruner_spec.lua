-- Successive halving and the median rule: by hand-worked cases, and with real checkpoints.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")
local help = require "spec.help"

local sweep = pelk.sweep

describe("asha", function()
  it("compares at min_epochs and its multiples by the reduction, below max_epochs", function()
    local function rungs(p)
      local out = {}
      for epoch = 1, 100 do if p:is_rung(epoch) then out[#out + 1] = epoch end end
      return out
    end
    assert.are.same({ 1, 3, 9, 27, 81 }, rungs(sweep.asha {}))
    assert.are.same({ 2, 8, 32 }, rungs(sweep.asha { min_epochs = 2, reduction = 4 }))
    assert.are.same({ 1, 3, 9 }, rungs(sweep.asha { max_epochs = 27 }))
    assert.are.same({ 2, 3, 5, 8, 12, 18, 27, 41, 62, 93 }, rungs(sweep.asha { min_epochs = 2, reduction = 1.5 }))
  end)

  it("lets the best 1/reduction of those that came so far go on", function()
    local p = sweep.asha { reduction = 3 }
    local values = { a = { 0.5 } }
    assert.are.equal("paused", p:verdict(values, "a", 1)) -- one of one is more than a third
    values.b = { 0.4 }
    assert.are.equal("paused", p:verdict(values, "b", 1))
    values.c = { 0.6 }
    assert.is_nil(p:verdict(values, "c", 1)) -- the best of three
    assert.is_nil(p:promote(values, { "a", "b" }))
    values.d, values.e, values.f = { 0.1 }, { 0.2 }, { 0.3 }
    assert.are.equal("a", p:promote(values, { "a", "b", "d" })) -- the second of six
    assert.is_nil(p:promote(values, { "b", "d", "e", "f" }))
    values.c = { 0.6, 0.6, 0.7 }
    assert.are.equal("paused", p:verdict(values, "c", 3))
    assert.is_nil(p:verdict(values, "c", 2)) -- no rung
  end)

  it("resumes whoever came furthest first, and one in any case when nothing else is left", function()
    local p = sweep.asha { reduction = 2 }
    local values = { a = { 5, 5 }, b = { 4, 6 }, c = { 9 }, d = { 1 } }
    assert.are.equal("b", p:promote(values, { "a", "b", "c", "d" })) -- the best at epoch 2
    assert.are.equal("c", p:promote(values, { "a", "c", "d" }))
    assert.is_nil(p:promote(values, { "a", "d" }))
    assert.are.equal("a", p:promote({ a = { 5 } }, { "a" }, true))
    assert.is_nil(p:promote({ a = { 5 } }, { "a" }))
    assert.is_nil(p:promote({ a = { 5 }, z = { 1, 2 } }, { "a" }, true)) -- another came further
  end)

  it("does not depend on names among equals, nor counts them all as best", function()
    local p = sweep.asha { reduction = 2 }
    local values = { a = { 1 }, b = { 1 }, c = { 1 }, d = { 1 } }
    local going = 0
    for id in pairs(values) do if not p:verdict(values, id, 1) then going = going + 1 end end
    assert.are.equal(2, going)
  end)
end)

describe("the median rule", function()
  it("stops what is below the median of the others' means", function()
    local p = sweep.median { warmup = 2, min_trials = 3 }
    local values = { a = { 1, 3 }, b = { 2, 4 }, c = { 5, 7 } } -- means 2, 3, 6
    values.d = { 0, 2.9 }
    assert.is_nil(p:verdict(values, "d", 1)) -- warm-up
    assert.are.equal("stopped", p:verdict(values, "d", 2))
    values.d = { 0, 3 }
    assert.is_nil(p:verdict(values, "d", 2))
    values.d = { 3.5, 0 }
    assert.is_nil(p:verdict(values, "d", 2)) -- its best counts
    values.c = { 5 }
    values.d = { 0, 0 }
    assert.is_nil(p:verdict(values, "d", 2)) -- two others only
    values.c, values.e = { 5, 7 }, { 3, 5 } -- means 2, 3, 4, 6: median 3.5
    values.d = { 0, 3.4 }
    assert.are.equal("stopped", p:verdict(values, "d", 2))
    values.d = { 0, 3.6 }
    assert.is_nil(p:verdict(values, "d", 2))
  end)
end)

-- ---- in a sweep ----

local function state_of(results)
  local out = {}
  for _, r in ipairs(results) do out[r.params.a] = r.state end
  return out
end

describe("a sweep with a pruner", function()
  local dir
  before_each(function() dir = help.folder(true) end)
  after_each(function() help.remove(dir) end)

  --- Reports a * epoch up to 9; goes on from the epoch that a file says, as a script of one's own would.
  local function objective(p, trial)
    local path = trial.folder .. "/epoch"
    local file = io.open(path)
    local first = file and file:read("n") + 1 or 1
    if file then file:close() end
    for epoch = first, 9 do
      help.write(path, tostring(epoch))
      if trial:report(epoch, p.a * epoch) == "stop" then return end
    end
  end

  local function nine(factor, given)
    local o = { dir = dir, space = { a = sweep.integer(1, 9), factor = factor }, progress = false,
      objective = function(p, trial) return objective({ a = p.factor * p.a }, trial) end,
      pruner = sweep.asha { reduction = 3, max_epochs = 9 } }
    for k in pairs(given or {}) do o[k] = given[k] or nil end
    local results, epochs = sweep(o), {}
    for _, r in ipairs(results) do epochs[r.params.a] = #r.curve end
    return results, epochs
  end

  it("spends the epochs of successive halving, and ends with its winner", function()
    -- the best comes first: 9 trials to epoch 1, 3 to epoch 3, 1 to epoch 9, as with all known at once
    local results, epochs = nine(-1)
    assert.are.same({ 9, 3, 3, 1, 1, 1, 1, 1, 1 }, epochs)
    assert.are.equal(1, results:best().params.a)
    for a, state in pairs(state_of(results)) do assert.are.equal(a == 1 and "done" or "paused", state) end
    local before = help.read(dir .. "/journal.jsonl")
    nine(-1)
    assert.is_nil(help.read(dir .. "/journal.jsonl"):sub(#before + 1):find("begin")) -- it was over
    results, epochs = nine(-1, { pruner = false })
    for a, state in pairs(state_of(results)) do assert.are.equal("done", state, a) end -- without one all go on
    for _, r in ipairs(results) do
      for epoch, row in ipairs(r.curve) do assert.are.same({ epoch, -r.params.a * epoch }, { row.epoch, row.value }) end
    end
    assert.are.same({ 9, 9, 9, 9, 9, 9, 9, 9, 9 }, epochs)
  end)

  it("lets those that beat all before them go on at once", function()
    -- the third is the best of three at epoch 1, the fifth the third and the best to come to epoch 3
    local results, epochs = nine(1)
    assert.are.same({ 1, 1, 3, 3, 9, 9, 9, 9, 9 }, epochs)
    assert.are.equal(9, results:best().params.a)
  end)

  it("brings one trial to its end, however few there are", function()
    local results = sweep { dir = dir, space = { a = sweep.integer(1, 2) }, progress = false, objective = objective,
      pruner = sweep.asha { reduction = 4, max_epochs = 9 } }
    assert.are.same({ "paused", "done" }, state_of(results))
  end)

  it("compares losses the other way round", function()
    local results = sweep { dir = dir, space = { a = sweep.integer(1, 3) }, progress = false, objective = objective,
      goal = "min", pruner = sweep.asha { reduction = 3, max_epochs = 9 } }
    assert.are.same({ "done", "paused", "paused" }, state_of(results))
  end)

  it("stops by the median, for good", function()
    local function run()
      return sweep { dir = dir, search = { { a = 5 }, { a = 6 }, { a = 7 }, { a = 1 }, { a = 8 } }, progress = false,
        objective = objective, pruner = sweep.median { warmup = 2, min_trials = 3 } }
    end
    local results = run()
    assert.are.same({ [5] = "done", [6] = "done", [7] = "done", [1] = "stopped", [8] = "done" }, state_of(results))
    assert.are.equal(2, #results[4].curve)
    assert.are.equal("stopped", state_of(run())[1])
  end)

  it("pauses and resumes real checkpoints: the weights are those of a run that never stopped", function()
    local set = help.spots
    local calls = {}
    local function train(p, trial)
      calls[p.a] = (calls[p.a] or 0) + 1
      pelk.manual_seed(3)
      local m = pelk.models.create("pelk_nano", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 9, 5 },
        num_classes = 2, drop_path = 0.3 })
      trial:train { model = m, train = pelk.data.loader(set(32, 1), { batch = 8, shuffle = true, seed = 2 }),
        val = pelk.data.loader(set(16, 2), { batch = 8 }), epochs = 3, seed = p.a, progress = false,
        optimizer = { name = "adamw", lr = p.lr }, schedule = { kind = "cosine", warmup_epochs = 1 },
        ema = { decay = 0.9 } }
    end
    local search = { { a = 1, lr = 1e-3 }, { a = 2, lr = 2e-3 }, { a = 3, lr = 4e-3 } }
    local given = { dir = dir .. "/pruned", search = search, goal = "min", metric = "eval_loss", progress = false,
      objective = train, pruner = sweep.asha { reduction = 3 } }
    local results = sweep(given)
    local done = results:filter(function(r) return r.state == "done" end)
    assert.are.equal(1, #done)
    assert.are.equal(2, #results:filter(function(r) return r.state == "paused" and #r.curve == 1 end))
    given.pruner = nil
    results = sweep(given) -- all go on
    given.dir = dir .. "/whole"
    local whole = sweep(given)
    for i, r in ipairs(results) do
      assert.are.equal(3, #r.curve)
      assert.are.equal(whole[i].value, r.value)
      local ours = core.load_tensors(r.folder .. "/run/last_ema.safetensors")
      for name, value in pairs(core.load_tensors(whole[i].folder .. "/run/last_ema.safetensors")) do
        assert(value:equal(ours[name]), name)
      end
      assert(r.metrics.params > 3000 and r.metrics.macs > 10000 and r.metrics.images_per_second > 0)
    end
    assert.are.same(json.decode(help.read(whole[1].folder .. "/config.json")).params, search[1])
    local resumed = 0
    for a = 1, 3 do if calls[a] == 3 then resumed = resumed + 1 end end
    assert(resumed >= 2) -- paused, resumed; and the whole one
  end)
end)

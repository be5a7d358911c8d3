-- Spaces of parameters: what a search makes of them, ids, draws.
local pelk = require("pelk")
local space = require("pelk.sweep.space")
local help = require "spec.help"

local sweep = pelk.sweep

local function trials(given)
  local o = { search = "grid", trials = 20, seed = 1 }
  for k, v in pairs(given) do o[k] = v end
  return space.trials(o)
end

local function values(list, name)
  local out = {}
  for i, trial in ipairs(list) do out[i] = space.get(trial.params, name) end
  return out
end

describe("a grid", function()
  it("is every combination of nested options, the last name varying fastest, constants kept", function()
    local list = trials { space = {
      model = { kernels = sweep.choice { { 31, 15 }, { 7, 7 } }, name = "pelk_nano" },
      data = { size = sweep.choice { 28, 56 } }, seed = sweep.integer(1, 3) } }
    assert.are.equal(12, #list)
    assert.are.same({ 28, 28, 28, 28, 28, 28, 56, 56, 56, 56, 56, 56 }, values(list, "data.size"))
    assert.are.same({ 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3 }, values(list, "seed"))
    assert.are.same({ 31, 15 }, list[1].params.model.kernels)
    assert.are.same({ 7, 7 }, list[4].params.model.kernels)
    for _, trial in ipairs(list) do assert.are.equal("pelk_nano", trial.params.model.name) end
    assert.are.same({ "data.size", "model.kernels", "seed" }, space.columns(list))
  end)

  it("varies elements of lists, and what a choice puts in", function()
    local list = trials { space = { kernels = { sweep.choice { 51, 31 }, 13 } } }
    assert.are.same({ { kernels = { 51, 13 } }, { kernels = { 31, 13 } } }, { list[1].params, list[2].params })
    list = trials { space = { optimizer = sweep.choice {
      { name = "sgd", momentum = sweep.choice { 0, 0.9 } }, { name = "adamw" } } } }
    assert.are.equal(3, #list)
    assert.are.same({ 0, 0.9 }, { table.unpack(values(list, "optimizer.momentum")) })
    assert.are.equal("adamw", list[3].params.optimizer.name)
    list = trials { space = { x = sweep.choice { 1, sweep.integer(5, 6) } } }
    assert.are.same({ 1, 5, 6 }, values(list, "x"))
    list = trials { space = { merged = sweep.choice { true, false } } }
    assert.are.same({ true, false }, values(list, "merged"))
  end)

  it("takes each trial once, keeps to the constraint, and refuses what has no end", function()
    assert.are.equal(2, #trials { space = { a = sweep.choice { 1, 1.0, 2 } } })
    local list = trials { space = { a = sweep.integer(1, 9), b = sweep.integer(1, 9) },
      constraint = function(p) return p.a * p.b == 12 end }
    assert.are.same({ 2, 3, 4, 6 }, values(list, "a"))
    help.raises("allows none", trials, { space = { a = 1 }, constraint = function() return false end })
    help.raises("a grid cannot take lr %(sweep.log_uniform%(0.001, 0.1%)%)", trials,
      { space = { lr = sweep.log_uniform(1e-3, 0.1) } })
    help.raises("100000", trials, { space = { a = sweep.integer(1, 400), b = sweep.integer(1, 400) } })
    help.raises("100000", trials, { space = { a = sweep.integer(1, math.maxinteger) } })
  end)

  it("leaves the space as it was, whatever a constraint does", function()
    local given = { model = { kernels = sweep.choice { { 3, 5 } } } }
    local list = trials { space = given, constraint = function(p)
      p.model.kernels[1] = 99
      return true
    end }
    assert.are.same({ 3, 5 }, list[1].params.model.kernels)
    list[1].params.model.kernels[1] = 99
    assert.are.same({ 3, 5 }, trials({ space = given })[1].params.model.kernels)
  end)
end)

describe("a random search", function()
  local given = { search = "random", trials = 400, seed = 5, space = { lr = sweep.log_uniform(1e-4, 1e-1),
    drop = sweep.uniform(0, 0.5), radius = sweep.integer(1, 4), rule = sweep.choice { "truncate", "merge" } } }

  it("draws the same trials for a seed, others for another, and a longer one begins with the shorter", function()
    local first, again = trials(given), trials(given)
    assert.are.same(first, again)
    given.trials = 10
    local short = trials(given)
    for i = 1, 10 do assert.are.equal(first[i].id, short[i].id) end
    given.seed = 6
    assert.are_not.equal(first[1].id, trials(given)[1].id)
    given.seed, given.trials = 5, 400
  end)

  it("fills its ranges evenly, in logarithms where asked", function()
    local list = trials(given)
    assert.are.equal(400, #list)
    local low, logs, radii, merge = 0, {}, {}, 0
    for _, trial in ipairs(list) do
      local p = trial.params
      assert(p.lr >= 1e-4 and p.lr < 1e-1 and p.drop >= 0 and p.drop < 0.5)
      if p.drop < 0.25 then low = low + 1 end
      local decade = math.floor(math.log(p.lr, 10))
      logs[decade] = (logs[decade] or 0) + 1
      assert.are.equal("integer", math.type(p.radius))
      radii[p.radius] = (radii[p.radius] or 0) + 1
      if p.rule == "merge" then merge = merge + 1 end
    end
    -- five standard deviations of the binomial, so that a fair draw never fails
    assert(math.abs(low - 200) < 50 and math.abs(merge - 200) < 50)
    for decade = -4, -2 do assert(math.abs(logs[decade] - 400 / 3) < 48, logs[decade]) end
    for radius = 1, 4 do assert(math.abs(radii[radius] - 100) < 44, radii[radius]) end
  end)

  it("draws each parameter apart, also those whose names differ in a letter", function()
    local list = trials { search = "random", trials = 400, seed = 1, space = { x = sweep.uniform(0, 1),
      y = sweep.uniform(0, 1), k = { sweep.uniform(0, 1), sweep.uniform(0, 1) },
      z = sweep.choice { sweep.uniform(0, 1), sweep.uniform(0, 1) } } }
    local names = { "x", "y", "k.1", "k.2", "z" }
    local function correlation(f, g)
      local sum = 0
      for i = 2, #list do sum = sum + 12 * (f(i) - 0.5) * (g(i) - 0.5) end
      return sum / (#list - 1)
    end
    for a, first in ipairs(names) do
      local function value(i) return space.get(list[i].params, first) end
      local function before(i) return value(i - 1) end
      assert(math.abs(correlation(value, before)) < 0.25, first .. " depends on the trial before")
      for b = a + 1, #names do
        local function other(i) return space.get(list[i].params, names[b]) end
        assert(math.abs(correlation(value, other)) < 0.25, first .. " goes with " .. names[b])
      end
    end
  end)

  it("ends when there are no other trials, keeps to the constraint", function()
    assert.are.equal(3, #trials { search = "random", trials = 50, space = { a = sweep.integer(1, 3) } })
    local list = trials { search = "random", trials = 30, space = { a = sweep.uniform(0, 1) },
      constraint = function(p) return p.a > 0.9 end }
    assert.are.equal(30, #list)
    for _, trial in ipairs(list) do assert(trial.params.a > 0.9) end
    help.raises("none of the trials drawn", trials, { search = "random", trials = 3, space = { a = 1 },
      constraint = function() return false end })
  end)
end)

describe("a list", function()
  it("is laid over the space", function()
    local list = trials { space = { model = { name = "pelk_nano", kernels = { 7, 7 } }, epochs = 2 },
      search = { { model = { kernels = { 31 } } }, { epochs = 5, seed = 3 }, {} } }
    assert.are.same({ model = { name = "pelk_nano", kernels = { 31 } }, epochs = 2 }, list[1].params)
    assert.are.same({ model = { name = "pelk_nano", kernels = { 7, 7 } }, epochs = 5, seed = 3 }, list[2].params)
    assert.are.equal(3, #list)
    assert.are.same({ "epochs", "model.kernels", "seed" }, space.columns(list))
  end)

  it("refuses what varies, what is no table, and nothing", function()
    help.raises("varies a", trials, { space = { a = sweep.integer(1, 2) }, search = { {} } })
    help.raises("trial 2 of the list varies b.c", trials, { space = {},
      search = { {}, { b = { c = sweep.integer(1, 2) } } } })
    help.raises("trial 1 of the list is a number", trials, { space = {}, search = { 3 } })
    help.raises("empty", trials, { space = {}, search = {} })
  end)
end)

describe("an id", function()
  it("is FNV-1a, 64 bits, of the parameters as JSON with sorted names", function()
    assert.are.equal("08f44b07b5901a25", space.id({})) -- by another program
    assert.are.equal("9c3e82dd6fcae8b1", space.id({ a = 1 }))
    assert.are.equal("1f2d9863e5e70067", space.id({ train = { lr = 0.004 }, model = { kernels = { 31, 29 } } }))
  end)

  it("is the same for equal numbers, another for everything else", function()
    assert.are.equal(space.id({ a = 1, b = { 2, 3 } }), space.id({ b = { 2.0, 3 }, a = 1.0 }))
    assert.are_not.equal(space.id({ a = "1.0,2" }), space.id({ a = "1,2" }))
    assert.are_not.equal(space.id({ a = 1 }), space.id({ a = "1" }))
    assert.are_not.equal(space.id({ a = { 1, 2 } }), space.id({ a = { 2, 1 } }))
    help.raises("what JSON can say", space.id, { f = print })
    help.raises("what JSON can say", space.id, { x = 0 / 0 })
  end)
end)

describe("ranges", function()
  it("print, and refuse what makes no sense", function()
    assert.are.equal("sweep.choice{[31,15], 7, truncate}", tostring(sweep.choice { { 31, 15 }, 7, "truncate" }))
    assert.are.equal("sweep.integer(1, 4)", tostring(sweep.integer(1, 4.0)))
    help.raises("wants a list", sweep.choice, {})
    help.raises("wants a list", sweep.choice, 3)
    help.raises("first smaller; got 2 and 1", sweep.uniform, 2, 1)
    help.raises("first smaller; got 2 and 2", sweep.uniform, 2, 2)
    help.raises("not larger; got 2 and 1", sweep.integer, 2, 1)
    assert.are.equal(1, #trials { space = { a = sweep.integer(2, 2) } })
    help.raises("above 0", sweep.log_uniform, 0, 1)
    help.raises("whole numbers, got 0.5 and 2", sweep.integer, 0.5, 2)
    help.raises("two numbers", sweep.uniform, "a", 1)
    help.raises("two numbers", sweep.uniform, 0, math.huge)
  end)
end)

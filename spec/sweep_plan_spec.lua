-- The plan of a sweep: sizes, and times by measured steps.
local core = require("pelk.core")
local help = require("spec.help")
local pelk = require("pelk")
local sweep = pelk.sweep

local dir
before_each(function() dir = help.folder() end)
after_each(function() help.remove(dir) end)

local function quiet(o)
  o.dir, o.progress = o.dir or dir .. "/sweep", false
  return sweep(o)
end

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

-- The example of the README runs as it stands there (on fewer images, into a folder of the test's own).
local function example()
  local file = assert(io.open("README.md"))
  local text = file:read("a")
  file:close()
  return assert(text:match("```lua\n(.-)```"), "README.md has no Lua example")
end

describe("README", function()
  it("has an example that runs", function()
    local data = require("pelk.data")
    local there, missing = data.fashion_mnist({ split = "test" })
    if not there then
      print("skipped: " .. missing .. " (the example of the README)")
      return
    end
    local dir = os.tmpname()
    os.remove(dir)
    local code, sets = example():gsub("assert(%b())", "assert%1:take(256)")
    assert.are.equal(2, sets)
    local folders
    code, folders = code:gsub('out = "[^"]*"', ("out = %q"):format(dir))
    assert.are.equal(1, folders) -- or it would run in the checkout
    code = code:gsub("epochs = 1,", "epochs = 1, progress = false,")
    local printed = {}
    local function record(...)
      for i = 1, select("#", ...) do printed[#printed + 1] = tostring((select(i, ...))) end
    end
    local evaluate = "pelk.evaluate%(model, test%)"
    code = code:gsub(evaluate, "pelk.evaluate(model, test, { progress = false })")
    assert(load(code, "=README.md", "t", setmetatable({ print = record }, { __index = _G })))()
    assert(table.concat(printed, "\n"):find("top%-1"))
    os.execute(("rm -rf '%s'"):format(dir))
  end)
end)

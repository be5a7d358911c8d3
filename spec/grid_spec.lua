-- Sharing grids against every row the paper prints, and the expanded kernels they stand for.
local core = require("pelk.core")

-- half grids, outer -> centre
local truncate = {
  {9, 2, {2, 1, 1, 1}},
  {13, 2, {2, 2, 1, 1, 1}},
  {13, 3, {1, 2, 1, 1, 1, 1}},
  {31, 2, {7, 4, 2, 1, 1, 1}},
  {33, 2, {8, 4, 2, 1, 1, 1}},
  {37, 2, {2, 8, 4, 2, 1, 1, 1}},
  {47, 2, {7, 8, 4, 2, 1, 1, 1}},
  {49, 2, {8, 8, 4, 2, 1, 1, 1}},
  {51, 0, {11, 8, 4, 2, 1}},
  {51, 1, {10, 8, 4, 2, 1, 1}},
  {51, 2, {9, 8, 4, 2, 1, 1, 1}},
  {51, 3, {8, 8, 4, 2, 1, 1, 1, 1}},
  {61, 2, {14, 8, 4, 2, 1, 1, 1}},
  {67, 3, {16, 8, 4, 2, 1, 1, 1, 1}},
  {69, 3, {1, 16, 8, 4, 2, 1, 1, 1, 1}},
  {87, 3, {10, 16, 8, 4, 2, 1, 1, 1, 1}},
  {89, 3, {11, 16, 8, 4, 2, 1, 1, 1, 1}},
  {101, 2, {18, 16, 8, 4, 2, 1, 1, 1}},
  {101, 3, {17, 16, 8, 4, 2, 1, 1, 1, 1}},
  {151, 3, {10, 32, 16, 8, 4, 2, 1, 1, 1, 1}},
}
local merge = {
  {9, 2, {2, 1, 1, 1}},
  {13, 2, {2, 2, 1, 1, 1}},
  {13, 3, {3, 1, 1, 1, 1}},
  {31, 2, {7, 4, 2, 1, 1, 1}},
  {37, 2, {10, 4, 2, 1, 1, 1}},
  {47, 2, {15, 4, 2, 1, 1, 1}},
  {49, 2, {8, 8, 4, 2, 1, 1, 1}},
  {51, 2, {9, 8, 4, 2, 1, 1, 1}},
  {51, 3, {8, 8, 4, 2, 1, 1, 1, 1}},
  {61, 2, {14, 8, 4, 2, 1, 1, 1}},
  {67, 3, {16, 8, 4, 2, 1, 1, 1, 1}},
  {69, 3, {17, 8, 4, 2, 1, 1, 1, 1}},
  {87, 3, {26, 8, 4, 2, 1, 1, 1, 1}},
  {89, 3, {27, 8, 4, 2, 1, 1, 1, 1}},
  {101, 2, {18, 16, 8, 4, 2, 1, 1, 1}},
  {101, 3, {17, 16, 8, 4, 2, 1, 1, 1, 1}},
  {151, 3, {42, 16, 8, 4, 2, 1, 1, 1, 1}},
}

local function mirrored(half)
  local full = {table.unpack(half)}
  for i = #half - 1, 1, -1 do full[#full + 1] = half[i] end
  return full
end

describe("grid", function()
  for rule, rows in pairs({truncate = truncate, merge = merge}) do
    for _, row in ipairs(rows) do
      local k, radius, half = row[1], row[2], row[3]
      it(("%d with radius %d, %s"):format(k, radius, rule), function()
        assert.same(mirrored(half), core.grid(k, {radius = radius, rule = rule}))
      end)
    end
  end

  it("is 2,1,2 for the figure's kernel of 5 without a fine centre", function()
    assert.same({2, 1, 2}, core.grid(5, {radius = 0}))
  end)

  it("defaults to radius 2, base 2, truncate", function()
    assert.same(core.grid(51, {radius = 2, base = 2, rule = "truncate"}), core.grid(51))
  end)

  it("is dense for base 1", function()
    local g = core.grid(7, {base = 1})
    assert.same({1, 1, 1, 1, 1, 1, 1}, g)
  end)

  it("grows by other bases", function()
    assert.same({9, 3, 1, 1, 1, 3, 9}, core.grid(27, {radius = 1, base = 3}))
  end)

  it("sums to k whatever the parameters", function()
    for k = 1, 201, 2 do
      for radius = 0, math.min(4, k // 2) do
        for _, rule in ipairs({"truncate", "merge"}) do
          local sum, g = 0, core.grid(k, {radius = radius, rule = rule})
          for i, size in ipairs(g) do
            sum = sum + size
            assert.equal(size, g[#g + 1 - i])
          end
          assert.equal(k, sum)
        end
      end
    end
  end)

  it("says what is wrong", function()
    assert.error_matches(function() core.grid(50) end, "kernel is 50.*odd")
    assert.error_matches(function() core.grid(5, {radius = 3}) end, "radius is 3.*0 to 2")
    assert.error_matches(function() core.grid(51, {raduis = 3}) end, "raduis.*radius")
    assert.error_matches(function() core.grid(1001, {base = 1}) end, "bands")
    assert.error_matches(function() core.grid(math.maxinteger) end, "at most 8191")
  end)
end)

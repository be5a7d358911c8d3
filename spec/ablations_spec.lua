-- The ablations of the paper: grids by name, and the example that goes through its tables.
local pelk = require("pelk")
local help = require("spec.help")

local fails = help.raises

local function sum(list)
  local total = 0
  for _, n in ipairs(list) do total = total + n end
  return total
end

describe("pelk.grids", function()
  it("has the six of Table 5, with the shares of weights it prints", function()
    local printed = { 1.00, 0.27, 0.33, 0.16, 0.11, 0.11 }
    local sides = { 33, 17, 19, 13, 11, 11 }
    for i, share in ipairs(printed) do
      local grid = pelk.grids["table5_" .. i]
      assert.are.same({ 33, sides[i] }, { sum(grid), #grid })
      local c = pelk.nn.PeripheralConv({ channels = 1, kernel = 33, grid = grid, position_mode = "off" })
      assert.are.equal(("%.2f"):format(share), ("%.2f"):format(c:count({ image_size = 7 }).params / 33 ^ 2))
    end
    assert.are.same(pelk.grid(33), pelk.grids.table5_5)
    assert.are.equal("{4, 4, 4, 2, 1, 1, 1, 1, 1, 2, 4, 4, 4}", tostring(pelk.grids.table5_4))
    assert.are.same({ 1, 1, 2, 4, 8, 1, 8, 4, 2, 1, 1 }, pelk.grids.table5_6)
    assert.are.same({ 2, 2, 2, 2, 2, 2, 2, 2, 1 }, table.move(pelk.grids.table5_2, 1, 9, 1, {}))
    assert.are.same({ 2, 2, 2, 2, 2, 2, 2, 1, 1, 1 }, table.move(pelk.grids.table5_3, 1, 10, 1, {}))
  end)

  it("has the four of Table 6, which the radius gives too", function()
    for radius = 0, 3 do
      local side = 2 * radius + 1
      assert.are.same(pelk.grid(51, { radius = radius }), pelk.grids[("table6_%dx%d"):format(side, side)])
    end
  end)

  it("names them in options of models, for all stages or one by one", function()
    local small = { depths = { 1, 1 }, dims = { 16, 16 }, width = 1, num_classes = 2, position = "off" }
    local function sides(grid)
      small.grid = grid
      local m <close> = pelk.models.create("pelk_tiny", small)
      local state = m:state_dict()
      return { state["stages.0.blocks.0.conv_dw.large.conv.weight"]:size(3),
        state["stages.1.blocks.0.conv_dw.large.conv.weight"]:size(3) }
    end
    assert.are.same({ 13, 13 }, sides("table5_4"))
    assert.are.same({ 17, 3 }, sides({ "table5_2", { 2, 1, 2 } }))
    assert.are.same({ 5, 5 }, sides({ 3, 1, 1, 1, 3 }))
    fails("no grid is called 'table5_7', did you mean 'table5_1'", pelk.models.create, "pelk_tiny",
      { grid = "table5_7" })
    fails("no grid is called 'fine'", pelk.models.create, "pelk_tiny", { grid = { "fine" } })
    assert(tostring(pelk.grids):find("table5_4 +{4, 4, 4, 2"))
  end)
end)

local there, missing = pelk.data.fashion_mnist({ split = "test" })

--- Status, standard output and standard error of the example.
local function example(words)
  local dir = help.folder()
  local command = "LUA_PATH=%q LUA_CPATH=%q lua5.4 examples/ablations.lua %s >'%s/out' 2>'%s/err'"
  local _, _, status = os.execute(command:format(package.path, package.cpath, words, dir, dir))
  local out, err = help.read(dir .. "/out"), help.read(dir .. "/err")
  help.remove(dir)
  return status, out, err
end

describe("the example", function()
  it("counts the rows of Tables 1, 5, 6 and 7 and of figure 6", function()
    for words, wanted in pairs({
      ["--table 1"] = { "SLaK%-51 stripes, sparse +19.6 %% +50.70 +30.47 +5.223 ", "RepLK%-51 dense, sparse +100.0" },
      ["--table 5"] = { "#1 ones +100.0 %%", "#2 twos, centre 1x1 +26.5 %%", "#3 twos, centre 5x5 +33.1 %%",
        "#4 fours +15.5 %%", "#5 exponential +11.1 %%", "#6 inside out +11.1 %%.- 80.5\n" },
      ["table=6"] = { "centre 1x1 +3.1 %%.- 80.8\n", "centre 5x5 +6.5 %% +47.93 +28.80 +5.841", "centre 7x7" },
      ["--table=7"] = { "PeLK at 224 +6.5 %% +47.93 +28.80 +5.841 +9.735", "PeLK%-101 at 384 +2.8 %%", "PeLK%-151" },
      ["--table fig6"] = { "51 +45.49 +31.64 +29.38\n", "101 +95.84 +34.95 +29.75\n", "151 +179.30 +38.27 +30.18" },
    }) do
      local status, out, err = example(words)
      assert.are.equal(0, status, err)
      for _, pattern in ipairs(wanted) do assert(out:find(pattern), words .. ": " .. out) end
    end
  end)

  it("times and trains them, sparse ones with masks", function()
    if not there then return pending(missing) end
    local dir = help.folder()
    local status, out, err = example("--table 1 --time --train fashion_mnist --epochs 1 --limit 64 --tests 50 "
      .. "--dims 8,8 --depths 1,1 --train_batch 32 --csv " .. dir .. "/rows.csv")
    assert.are.equal(0, status, err)
    assert(out:find("forward ms +step ms +paper +top%-1 here"), out)
    local rows = help.read(dir .. "/rows.csv")
    help.remove(dir)
    assert(rows:find('^row,weights,params M.-\n"SLaK%-51 stripes, sparse",19.6 %%,'), rows)
    assert.are.equal(5, select(2, rows:gsub("\n", "")))
    for line in rows:gmatch("[^\n]+") do
      local accuracy = tonumber(line:match("([^,]+)$"))
      assert(line:find("^row") or (accuracy and accuracy >= 0 and accuracy <= 100), line)
    end
  end)

  it("says what it does not understand", function()
    for words, wanted in pairs({ ["--tabel 5"] = "unknown 'tabel'", ["--table 9"] = "must be 1, 5, 6, 7 or fig6",
      ["--table 5 --dims 1,x"] = "dims wants whole numbers", ["--table 5 --batch many"] = "batch wants a number",
      ["five"] = "'five' is not understood", ["--table"] = "table wants a value" }) do
      local status, _, err = example(words)
      assert.are.equal(2, status)
      assert(err:find(wanted, 1, true), err)
    end
  end)
end)

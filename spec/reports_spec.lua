-- What a run says of itself: TensorBoard's files read by another reader, the columns of summary.csv, the line of
-- progress, the confusion matrix and the crops of an evaluation against sums by hand.
local pelk = require("pelk")
local core = require("pelk.core")
local help = require("spec.help")
local progress = require("pelk.progress")

local function set(n, seed, side)
  pelk.manual_seed(seed)
  local labels = {}
  for i = 1, n do labels[i] = i % 3 + 1 end
  return pelk.data.tensors(pelk.rand({ n, side or 8, side or 8, 1 }), pelk.tensor(labels, { n }, { dtype = "int32" }),
    { classes = { "ant", "bee", "cow" } })
end

local function model()
  pelk.manual_seed(3)
  return pelk.nn.Sequential(pelk.nn.Conv2d(1, 6, 3, { padding = "same" }), pelk.nn.ReLU(), pelk.nn.GlobalAvgPool(),
    pelk.nn.Linear(6, 3))
end

local function run(overrides)
  local o = { model = model(), train = pelk.data.loader(set(24, 1), { batch = 4 }),
    val = pelk.data.loader(set(12, 2), { batch = 4 }), epochs = 8, seed = 1, progress = false,
    optimizer = { name = "sgd", lr = 0.05 }, ema = { decay = 0.9 } }
  for k, v in pairs(overrides) do o[k] = v end
  return pelk.train(o)
end

describe("TensorBoard's files", function()
  it("are what another reader reads", function()
    local python = help.python("google.protobuf")
    if not python then
      print("skipped: python3-protobuf is not installed (TensorBoard's files by another reader)")
      return
    end
    local dir, losses = help.folder(true), {}
    local history = run({ out = dir, tensorboard = true, callbacks = {
      step = function(info) losses[info.step] = info.loss end } })
    local file = dir .. "/tensorboard/" .. help.names(dir .. "/tensorboard")[1]
    local pipe = assert(io.popen(("%s spec/tensorboard/scalars.py '%s'"):format(python, file)))
    local found = {}
    for line in pipe:lines() do
      local step, tag, value = line:match("^(%d+) (%S+) (%S+)$")
      found[tag] = found[tag] or {}
      found[tag][tonumber(step)] = tonumber(value)
    end
    assert.is_true(pipe:close())
    for epoch, row in ipairs(history) do
      for _, name in ipairs({ "train_loss", "eval_loss", "eval_top1", "ema_top1", "lr", "grad_norm" }) do
        assert.near(row[name], found["epoch/" .. name][6 * epoch], 1e-5 * math.abs(row[name]) + 1e-7)
      end
    end
    assert.near(losses[20], found["train/loss"][20], 1e-6)
    assert.near(losses[40], found["train/loss"][40], 1e-6)
    assert.near(0.05, found["train/lr"][40], 1e-8)
    help.remove(dir)
  end)
end)

describe("summary.csv", function()
  it("has timm's columns under timm's names, a row an epoch, and what the history says", function()
    local dir = help.folder(true)
    local history = run({ out = dir, epochs = 2 })
    local rows, columns = {}, {}
    for line in io.lines(dir .. "/summary.csv") do
      local row = {}
      for cell in (line .. ","):gmatch("([^,]*),") do row[#row + 1] = cell end
      rows[#rows + 1] = row
    end
    for i, name in ipairs(rows[1]) do columns[name] = i end
    -- epoch, train_*, eval_*, lr: what timm's update_summary writes
    for _, name in ipairs({ "epoch", "train_loss", "eval_loss", "eval_top1", "eval_top5", "lr" }) do
      assert.truthy(columns[name], name)
      for epoch, row in ipairs(history) do
        assert.near(row[name], tonumber(rows[epoch + 1][columns[name]]), 1e-5 * math.abs(row[name]))
      end
    end
    assert.are.equal(1, columns.epoch)
    assert.are.equal(3, #rows)
    help.remove(dir)
  end)
end)

describe("progress", function()
  it("shows share, loss, accuracy, waiting for data, rate and what is left", function()
    local bar = progress.new("epoch 2/9", 200, { quiet = true })
    bar.began = core.clock() - 10
    bar:advance(50, "loss 0.3100  top-1 91.00 %  data 4 %")
    local line = bar:line(true)
    for _, part in ipairs({ "epoch 2/9", " 25%%", "loss 0.3100", "top%-1 91.00 %%", "data 4 %%", "5 images/s",
      "ETA 0:30", "█████░" }) do
      assert.truthy(line:find(part), part .. " is not in " .. line)
    end
    bar:advance(150, "")
    assert.falsy(bar:line(false):find("ETA"))
    assert.are.equal("1:01:01", progress.duration(3661))
    local resumed = progress.new("", 200, { quiet = true, done = 100 }) -- the rate is this process's
    resumed.began = core.clock() - 10
    resumed:advance(50, "")
    assert.truthy(resumed:line(false):find("5 images/s", 1, true))
    local slow = progress.new("", 10, { quiet = true }) -- no rate of 0 for what takes seconds
    slow.began = core.clock() - 8
    slow:advance(2, "")
    assert.truthy(slow:line(false):find("0.25 images/s", 1, true))
  end)

  it("reaches standard error, of every epoch", function()
    local dir, kept = help.folder(), io.stderr
    io.stderr = assert(io.open(dir .. "/err", "w")) -- luacheck: ignore
    local ok, message = pcall(run, { epochs = 2, progress = true })
    io.stderr:close()
    io.stderr = kept -- luacheck: ignore
    assert(ok, message)
    local said = help.read(dir .. "/err")
    for epoch = 1, 2 do
      local wanted = "epoch " .. epoch .. "/2[^\n]*100%%[^\n]*loss [%d.]+  top%-1 [%d.]+ %%  data %d+ %%"
      assert.truthy(said:find(wanted), said)
    end
    help.remove(dir)
  end)
end)

describe("evaluate", function()
  it("counts by label and prediction", function()
    local m, ds = model(), set(30, 5)
    m:eval()
    local wanted = { { 0, 0, 0 }, { 0, 0, 0 }, { 0, 0, 0 } }
    for i = 1, 30 do
      local x, label = ds:get(i)
      local logits = m(x:view { 1, 8, 8, 1 }):flat()
      local best = 1
      for k = 2, 3 do if logits[k] > logits[best] then best = k end end
      wanted[label][best] = wanted[label][best] + 1
    end
    local result = pelk.evaluate(m, pelk.data.loader(ds, { batch = 7 }), { progress = false, confusion = true })
    for i = 1, 3 do assert.are.same(wanted[i], { table.unpack(result.confusion[i]) }) end
    assert.truthy(tostring(result):find("ant"))
  end)

  it("takes the mean of the probabilities of the centre and the corners", function()
    local m, ds = model(), set(6, 6, 11)
    m:eval()
    local loss, hits = 0, 0
    for i = 1, 6 do
      local x, label = ds:get(i)
      local mean = { 0, 0, 0 }
      for _, at in ipairs({ { 1, 1 }, { 1, 4 }, { 4, 1 }, { 4, 4 }, { 2, 2 } }) do
        local crop = x:narrow(1, at[1], 8):narrow(2, at[2], 8):contiguous():view { 1, 8, 8, 1 }
        for k, p in ipairs(core.ops.softmax(m(crop)):flat()) do mean[k] = mean[k] + p / 5 end
      end
      loss = loss - math.log(mean[label]) / 6
      local best = 1
      for k = 2, 3 do if mean[k] > mean[best] then best = k end end
      if best == label then hits = hits + 1 end
    end
    local result = pelk.evaluate(m, pelk.data.loader(ds, { batch = 4 }), { progress = false, crops = 5, crop_size = 8 })
    assert.near(loss, result.loss, 1e-5)
    assert.near(100 * hits / 6, result.top1, 1e-9)
  end)
end)

describe("head_init_scale", function()
  it("scales the classifier's first weights and nothing else", function()
    local function make(scale)
      pelk.manual_seed(9)
      return pelk.models.create("pelk_nano", { head_init_scale = scale }):state_dict()
    end
    local plain, scaled = make(1), make(0.001)
    for name, value in pairs(plain) do
      local factor = name == "head.fc.weight" and 0.001 or 1
      assert.is_true(scaled[name]:allclose(value * factor, { rtol = 1e-6 }), name)
    end
  end)
end)

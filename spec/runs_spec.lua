-- Runs that can be trusted: exact resume, kills at any moment, full disks, numbers gone bad, reasons to stop.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")
local help = require "spec.help"

local set = help.spots

local architectures = require "spec.architectures"

local function build(name)
  pelk.manual_seed(3)
  if name == "hand" then
    return pelk.nn.Sequential(pelk.nn.Conv2d(1, 6, 3, { padding = "same" }), pelk.nn.BatchNorm(6), pelk.nn.ReLU(),
      pelk.nn.GlobalAvgPool(), pelk.nn.Dropout(0.2), pelk.nn.Linear(6, 2))
  end
  return pelk.models.create(table.unpack(architectures[name]))
end

local t = pelk.data.transforms

local function run(overrides)
  local o = {
    train = pelk.data.loader(set(48, 1), { batch = 8, shuffle = true, seed = 5,
      transforms = { t.random_crop { padding = 1 }, t.hflip {} } }),
    val = pelk.data.loader(set(16, 2), { batch = 8 }), epochs = 2, seed = 11, progress = false,
    optimizer = { name = "adamw", lr = 3e-3, layer_decay = 0.8 }, schedule = { kind = "cosine", warmup_epochs = 0.5 },
    accumulate = 2, clip_grad = 1, ema = { decay = 0.9, warmup = true },
  }
  for k, v in pairs(overrides or {}) do o[k] = v end
  o.model = o.model or build("pelk")
  if o.ema == false then o.ema = nil end
  if o.val == false then o.val = nil end
  return pelk.train(o), o.model
end

local function same(a, b)
  local other = b:state_dict()
  for name, value in pairs(a:state_dict()) do assert(value:equal(other[name]), name .. " differs") end
end

local checkpoints, newest, state, same_state = help.checkpoints, help.newest, help.state, help.same_run

describe("resume", function()
  local optimizers = { pelk = "adamw", convnext = "lamb", slak = "sgd", replknet = "adamw", inception_next = "lamb",
    hand = "sgd" }
  for name, kind in pairs(optimizers) do
    it(("is exact for %s with %s, whatever update it stops at"):format(name, kind), function()
      local optimizer = { name = kind, lr = 3e-3, layer_decay = 0.8 }
      local whole_dir = help.folder(true)
      local _, whole = run({ model = build(name), out = whole_dir, optimizer = optimizer })
      for _, stop in ipairs({ 1, 2, 4 }) do
        local dir = help.folder(true)
        local stopped = run({ model = build(name), out = dir, optimizer = optimizer, callbacks = { step = function(info)
          if info.step == stop then return "stop" end
        end } })
        assert(stopped.stopped:find("callback"))
        local fresh = build(name)
        pelk.rand({ 3 }) -- another process would have drawn other numbers
        run({ model = fresh, out = dir, optimizer = optimizer, resume = true })
        same(whole, fresh)
        same_state(whole_dir, dir)
        help.remove(dir)
      end
      help.remove(whole_dir)
    end)
  end

  it("takes the newest checkpoint that is whole, and says which were not", function()
    local dir = help.folder(true)
    local _, whole = run()
    run({ out = dir, save_steps = 1, keep = 3, callbacks = { step = function(i) return i.step == 5 and "stop" end } })
    local path, count = newest(dir)
    assert.are.equal(3, count)
    local bytes = help.read(path)
    help.write(path, bytes:sub(1, #bytes // 2)) -- cut
    local second = dir .. "/checkpoints/" .. checkpoints(dir)[2]
    bytes = help.read(second)
    local at = #bytes - 100
    help.write(second, bytes:sub(1, at) .. string.char(bytes:byte(at + 1) ~ 1) .. bytes:sub(at + 2)) -- one bit
    local history, m = run({ out = dir, resume = true })
    same(whole, m)
    assert.are.equal(2, #history)
    assert.truthy(help.read(dir .. "/log.jsonl"):find("damaged checkpoint"))
    local epochs = {}
    for line in io.lines(dir .. "/log.jsonl") do
      local entry = json.decode(line)
      if entry.train_loss then epochs[#epochs + 1] = entry.epoch end
    end
    assert.are.same({ 1, 2 }, epochs)
    help.remove(dir)
  end)

  it("is exact after a signal in the middle of an evaluation", function()
    local whole_dir, dir = help.folder(true), help.folder(true)
    local plain = pelk.data.loader(set(16, 2), { batch = 8 })
    local _, whole = run({ out = whole_dir, val = plain })
    -- the raw weights' evaluation, then the averages': the signal comes in the first batch
    for evaluation = 1, 2 do
      local calls = 0
      local loud = setmetatable({ epoch = function(_, n)
        calls = calls + 1
        if calls == evaluation then os.execute("kill -USR1 $PPID") end
        return plain:epoch(n)
      end, size = function() return plain:size() end }, { __index = plain })
      local stopped = run({ out = dir, val = loud, resume = evaluation > 1 })
      assert.are.equal("SIGUSR1", stopped.interrupted)
      assert.are.equal(0, #stopped)
    end
    local history, m = run({ out = dir, val = plain, resume = true })
    assert.are.equal(2, #history)
    same(whole, m)
    same_state(whole_dir, dir)
    local _, alone = run({ val = false }) -- what is trained does not depend on evaluations
    same(whole, alone)
    help.remove(whole_dir)
    help.remove(dir)
  end)

  it("is exact after a step that would not end was left in its middle", function()
    local trap
    -- Twenty seconds of small ops after the signal, once, in the batch of that number: batch norms have moved by then.
    local function slow(x)
      trap.batch = trap.batch + 1
      if trap.batch ~= trap.at then return x end
      os.execute("kill -TERM $PPID")
      local began = core.clock()
      while core.clock() - began < 20 do x = x * 1 end
      trap.ended = true
      return x
    end
    local function trapped() return pelk.nn.Sequential(build("replknet"), pelk.nn.Lambda(slow)) end
    local whole_dir, dir = help.folder(true), help.folder(true)
    trap = { batch = 0 }
    local _, whole = run({ model = trapped(), out = whole_dir })
    -- in the second batch of an update, and in an evaluation (after the six batches)
    for _, at in ipairs({ 4, 8 }) do
      help.remove(dir)
      trap = { batch = 0, at = at }
      local stopped = run({ model = trapped(), out = dir })
      assert.are.equal("SIGTERM", stopped.interrupted)
      assert.is_nil(trap.ended)
      trap = { batch = 0 }
      local _, m = run({ model = trapped(), out = dir, resume = true })
      same(whole, m)
      same_state(whole_dir, dir)
    end
    help.remove(whole_dir)
    help.remove(dir)
  end)

  it("is exact after a signal while a batch was waited for", function()
    local dir, pictures, whole_dir = help.folder(true), help.folder(), help.folder(true)
    assert(core.make_dir(pictures .. "/train/a") and core.make_dir(pictures .. "/train/b"))
    local big = pictures .. "/train/a/0.png"
    assert(pelk.viz.save_png(pelk.zeros({ 3000, 3000, 3 }), big)) -- 200 of them take long on one thread
    for i = 1, 99 do assert(os.execute(("ln '%s' '%s/train/a/%d.png'"):format(big, pictures, i))) end
    for i = 1, 100 do assert(os.execute(("ln '%s' '%s/train/b/%d.png'"):format(big, pictures, i))) end
    local waited, here = false, false
    local function loader(slow)
      local images = slow and assert(pelk.data.image_folder { root = pictures, split = "train" })
      local shrunk = { t.resize { size = 12 } }
      local one = slow and pelk.data.loader(images, { batch = 200, workers = 1, transforms = shrunk })
      local fast = pelk.data.loader(help.spots(48, 1), { batch = 8, shuffle = true, seed = 5 })
      return setmetatable({ epoch = function(_, n, from)
        if not slow or n < 2 or waited then return fast:epoch(n, from) end
        waited = true
        local step, state_, control, closing = one:epoch(n)
        return function(...)
          os.execute("kill -TERM $PPID")
          local x = step(...)
          here = true -- it came after all
          return x
        end, state_, control, closing
      end }, { __index = fast })
    end
    local _, whole = run({ train = loader(false), out = whole_dir })
    local stopped = run({ train = loader(true), out = dir })
    assert.are.equal("SIGTERM", stopped.interrupted)
    assert.is_false(here)
    local _, m = run({ train = loader(false), out = dir, resume = true })
    same(whole, m)
    same_state(whole_dir, dir)
    for _, folder in ipairs { dir, pictures, whole_dir } do help.remove(folder) end
  end)

  it("refuses other data, other averages", function()
    local dir = help.folder(true)
    run({ out = dir, epochs = 1 })
    help.raises("6 batches an epoch", run, { out = dir, resume = true,
      train = pelk.data.loader(set(48, 1), { batch = 16 }) })
    help.raises("ema is wanted", run, { out = dir, resume = true, ema = false })
    help.remove(dir)
  end)
end)

describe("a disk that fails", function()
  after_each(function() core._fail_file(0) end)

  it("is reported at any call, the old checkpoint stays, and the run goes on after", function()
    local base, dir, tried = help.folder(true), help.folder(true), 0
    run({ out = base, epochs = 1 })
    local _, whole = run({ epochs = 2 })
    local _, m
    for n = 1, 400 do
      help.remove(dir)
      assert(os.execute(("cp -r '%s' '%s'"):format(base, dir)))
      local before = help.read((newest(dir)))
      local ok, message = pcall(run, { out = dir, epochs = 2, resume = true, save_steps = 1, callbacks = {
        step = function(info)
          if info.step == 4 then core._fail_file(n, n % 2 == 0 and "ENOSPC" or "EIO", true) end
        end } })
      core._fail_file(0)
      if ok then break end
      tried = n
      assert(message:find("No space left") or message:find("Input/output"), message)
      local tensors = core.load_tensors((newest(dir)))
      assert(tensors, "no valid checkpoint after failing call " .. n)
      assert(help.read((newest(dir))) == before or select(2, state(dir)).updates >= 4)
      _, m = run({ out = dir, epochs = 2, resume = true })
      same(whole, m)
      if n == 16 then break end
    end
    assert(tried >= 12, "too few calls failed: " .. tried)
    help.remove(dir)
    help.remove(base)
  end)
end)

describe("numbers gone bad", function()
  -- A layer whose output becomes infinite when it is told so.
  local function trap(model, armed)
    return pelk.nn.Sequential(model, pelk.nn.Lambda(function(y) return armed.on and y * (1 / 0) or y end))
  end

  it("stops in the same step, names the module, leaves weights, buffers and moments", function()
    local armed, before = { on = false }, nil
    local m = trap(build("pelk"), armed)
    local dir = help.folder(true)
    local names = {}
    local function arm(info)
      if info.step ~= 3 then return end
      before, armed.on = {}, true
      for name, value in pairs(m:state_dict()) do
        before[name] = value:clone()
        names[#names + 1] = name
      end
    end
    local ok, message = pcall(run, { model = m, ema = { decay = 0.5 }, accumulate = 1, callbacks = { step = arm } })
    assert(not ok)
    assert.truthy(message:find("epoch 1, batch 4", 1, true), message)
    assert.truthy(message:find("1 (Lambda) is the first whose output is not finite", 1, true), message)
    for _, name in ipairs(names) do assert(m:state_dict()[name]:equal(before[name]), name .. " changed") end
    assert(#names > 20)
    help.remove(dir)
  end)

  it("finds inputs, weights, activations and gradients at every layer", function()
    local x = pelk.rand({ 4, 12, 12, 1 })
    local m = build("pelk")
    local guard = core.guard_new(m)
    local bad = x:clone()
    bad[2]:fill_(0 / 0)
    assert.truthy(guard:explain(bad):find("the input"))
    for _, pair in ipairs(m:named_parameters()) do
      local kept = pair.tensor:detach():clone()
      pelk.no_grad(function() pair.tensor:fill_(1 / 0) end)
      assert.are.equal(pair.name .. " holds values that are not finite", guard:explain(x))
      pelk.no_grad(function() pair.tensor:copy_(kept) end)
    end
    assert.truthy(guard:explain(x):find("it is the loss"))
    local logits = m(x)
    pelk.ops.sum(logits):backward()
    for _, pair in ipairs(m:named_parameters()) do
      if pair.tensor.grad then
        local kept = pair.tensor.grad:clone()
        pair.tensor.grad:fill_(0 / 0)
        assert.are.equal(("the gradient of %s is not finite"):format(pair.name), guard:explain(x))
        pair.tensor.grad:copy_(kept)
      end
    end
    local inner = pelk.nn.Sequential(pelk.nn.Linear(3, 3), pelk.nn.Lambda(function(y) return (y - 9):log() end),
      pelk.nn.ReLU())
    assert.truthy(core.guard_new(inner):explain(pelk.full({ 2, 3 }, -1)):find("^1 %(Lambda%)"))
    local open
    local closing = pelk.nn.Sequential(pelk.nn.BatchNorm(3), pelk.nn.Lambda(function(y)
      if open then pcall(function() local _ <close> = open end) end
      return y * (0 / 0)
    end))
    local armed = core.guard_new(closing)
    open = armed
    assert.truthy(armed:explain(pelk.rand({ 4, 3 })):find("Lambda"))
    open = nil
    armed:restore()
  end)

  it("is caught in gradients too, before they reach a weight", function()
    local m = build("pelk")
    local before = m:clone():state_dict()
    local zero = pelk.zeros({ 1 })
    local ok, message = pcall(run, { model = m, ema = false, accumulate = 1, loss = function(logits)
      return (logits * zero):abs():sqrt():sum() -- 0, its slope is not
    end })
    assert(not ok)
    assert.truthy(message:find("the gradients are not finite at epoch 1, batch 1", 1, true), message)
    assert.truthy(message:find("the gradient of head.fc", 1, true), message)
    for name, value in pairs(m:state_dict()) do assert(value:equal(before[name]), name) end
  end)

  it("skips the batch and goes on", function()
    local loader = pelk.data.loader(set(48, 1, 20), { batch = 8 })
    local dir = help.folder(true)
    local history, m = run({ train = loader, out = dir, nonfinite = "skip", accumulate = 1 })
    assert.are.equal(1, history[1].skipped)
    assert.are.equal(1, history[2].skipped)
    for name, value in pairs(m:state_dict()) do
      assert(value:sum():item() == value:sum():item(), name .. " is not finite")
    end
    assert.truthy(help.read(dir .. "/log.jsonl"):find("the input holds values", 1, true))
    help.remove(dir)
  end)

  it("rolls back to the checkpoint and passes over the batches since", function()
    local dir, seen = help.folder(true), nil
    local loader = pelk.data.loader(set(48, 1, 28), { batch = 8 }) -- in batch 4
    local m = build("pelk")
    local history = run({ model = m, train = loader, out = dir, nonfinite = "rollback", accumulate = 1, epochs = 1,
      ema = false, save_steps = 2, callbacks = { step = function(info) seen = info end } })
    assert.are.equal(1, history[1].skipped)
    assert.are.equal(6, seen.batch)
    assert.are.equal(4, seen.step) -- 1, 2, 3; back to 2; then batches 5 and 6 are updates 3 and 4
    help.raises("needs out", run, { nonfinite = "rollback" })
    help.raises("stop, skip or rollback", run, { nonfinite = "hope" })
    help.remove(dir)
  end)

  it("ends a run in which nothing goes well any more", function()
    local armed = { on = true }
    local ok, message = pcall(run, { model = trap(build("pelk"), armed), nonfinite = "skip", accumulate = 1,
      ema = false, epochs = 9 })
    assert(not ok and message:find("11 updates in a row"), message)
  end)
end)

describe("a run", function()
  it("accumulates: two halves of a batch are the batch", function()
    local function plain(batch, accumulate)
      pelk.manual_seed(3)
      local m = pelk.nn.Sequential(pelk.nn.Flatten(), pelk.nn.Linear(144, 2))
      run({ model = m, train = pelk.data.loader(set(48, 1), { batch = batch }), accumulate = accumulate, ema = false,
        epochs = 1, optimizer = { name = "sgd", lr = 0.1 } })
      return m:state_dict()
    end
    local whole, halves = plain(16, 1), plain(8, 2)
    for name, value in pairs(whole) do assert(value:allclose(halves[name], { rtol = 1e-4, atol = 1e-6 }), name) end
  end)

  it("mixes batches as a loader would, and goes on with the same mixtures", function()
    local function loader(mixup)
      return pelk.data.loader(set(48, 1), { batch = 8, shuffle = true, seed = 5, mixup = mixup })
    end
    local options = { num_classes = 2, mixup_alpha = 0.8, cutmix_alpha = 1 }
    local _, by_loader = run({ train = loader(pelk.data.mixup(options)) })
    local dir = help.folder(true)
    local first = run({ train = loader(), mixup = { mixup_alpha = 0.8 }, out = dir, callbacks = {
      step = function(info) return info.step == 2 and "stop" end } })
    assert.is_nil(first[1].train_top1) -- labels are soft
    local _, m = run({ train = loader(), mixup = true, out = dir, resume = true })
    same(by_loader, m)
    help.raises("has a mixup already", run, { train = loader(pelk.data.mixup(options)), mixup = true })
    help.raises("did you mean 'mixup_alpha'", run, { mixup = { mixup_alfa = 1 } })
    help.remove(dir)
  end)

  it("publishes averages beside the weights or in their place", function()
    local dir = help.folder(true)
    local _, m = run({ out = dir })
    local raw, averages = build("pelk"), build("pelk")
    assert(raw:load(dir .. "/last.safetensors"))
    assert(averages:load(dir .. "/last_ema.safetensors"))
    same(m, raw)
    assert(not averages:state_dict()["head.fc.weight"]:equal(raw:state_dict()["head.fc.weight"]))
    local alone = help.folder(true)
    run({ out = alone, ema = { decay = 0.9, warmup = true, publish = "alone" } })
    assert(raw:load(alone .. "/last.safetensors"))
    same(averages, raw)
    assert.is_nil(io.open(alone .. "/last_ema.safetensors"))
    help.remove(dir)
    help.remove(alone)
  end)

  it("stops early, at its budget, when a callback asks; and says why", function()
    local history = run({ epochs = 50, patience = 2, optimizer = { name = "sgd", lr = 0 }, ema = false })
    assert.are.equal(3, #history)
    assert.truthy(history.stopped:find("2 epochs without"))
    local dir = help.folder(true)
    history = run({ epochs = 50, budget_minutes = 1e-9, out = dir })
    assert.truthy(history.stopped:find("budget"))
    assert.truthy(tostring(history):find("stopped: the time budget"))
    local at = select(2, state(dir)).updates
    history = run({ epochs = 50, budget_minutes = 1e-9, out = dir, resume = true }) -- it has not grown since
    assert.truthy(history.stopped:find("budget"))
    assert.are.equal(at, select(2, state(dir)).updates)
    local impatient = help.folder(true)
    local o = { epochs = 50, patience = 2, optimizer = { name = "sgd", lr = 0 }, ema = false, out = impatient }
    run(o)
    at = select(2, state(impatient)).updates
    o.resume, o.model = true, nil
    history = run(o)
    assert.truthy(history.stopped:find("2 epochs without"))
    assert.are.equal(at, select(2, state(impatient)).updates)
    help.remove(impatient)
    history = run({ callbacks = { epoch = function() return "stop" end } })
    assert.are.equal(1, #history)
    help.remove(dir)
  end)

  it("gives an optimiser back with the rate it came with", function()
    local m = build("pelk")
    local opt = pelk.optim.sgd(m, { lr = 0.02 })
    for _ = 1, 2 do
      local history = run({ model = m, optimizer = opt })
      assert.are.equal(0.02, opt.lr)
      assert(history[2].lr < 0.01)
    end
  end)

  it("says with what other settings it goes on", function()
    local dir = help.folder(true)
    run({ out = dir, epochs = 1 })
    run({ out = dir, epochs = 2, resume = true, optimizer = { name = "adamw", lr = 1e-3, layer_decay = 0.8 } })
    local log = help.read(dir .. "/log.jsonl")
    assert.truthy(log:find("epochs was 1, is 2", 1, true), log)
    assert.truthy(log:find("optimizer.lr was 0.003, is 0.001", 1, true), log)
    help.remove(dir)
    run({ out = dir, epochs = 1 })
    run({ out = dir, epochs = 1, resume = true })
    assert.is_nil(help.read(dir .. "/log.jsonl"):find("other settings"))
    help.remove(dir)
  end)

  it("keeps its state whatever an evaluation's loss is", function()
    local dir, val = help.folder(true), set(16, 2)
    val.x[3]:fill_(0 / 0)
    local history = run({ out = dir, val = pelk.data.loader(val, { batch = 8 }) })
    assert(history[1].eval_loss ~= history[1].eval_loss)
    history = run({ out = dir, val = pelk.data.loader(val, { batch = 8 }), resume = true, epochs = 3 })
    assert.are.equal(3, #history)
    help.remove(dir)
  end)

  it("measures what saving and waiting for data cost", function()
    local dir = help.folder(true)
    local history = run({ out = dir })
    assert(history.saving.count >= 2 and history.saving.seconds > 0 and history.saving.share < 1)
    for _, row in ipairs(history) do assert(row.wait_share >= 0 and row.wait_share < 1) end
    assert(history[1].grad_norm > 0)
    help.remove(dir)
  end)

  it("writes TensorBoard's files", function()
    local dir = help.folder(true)
    assert.are.equal(0xe3069283, core.crc32c("123456789")) -- the check value of CRC-32C
    local history = run({ out = dir, tensorboard = true })
    local names = help.names(dir .. "/tensorboard")
    assert.are.equal(1, #names)
    local bytes, at, found = help.read(dir .. "/tensorboard/" .. names[1]), 1, {}
    while at <= #bytes do
      local length, crc = string.unpack("<I8I4", bytes, at)
      local own = core.crc32c(bytes:sub(at, at + 7))
      assert.are.equal(((own >> 15 | own << 17) + 0xa282ead8) & 0xffffffff, crc)
      local data = bytes:sub(at + 12, at + 11 + length)
      for tag, value in data:gmatch("\10[\1-\127]([%a_/0-9]+)\21(....)") do found[tag] = string.unpack("<f", value) end
      at = at + 16 + length
    end
    assert(math.abs(found["epoch/train_loss"] - history[2].train_loss) < 1e-5)
    assert(found["epoch/ema_top1"])
    help.remove(dir)
  end)
end)

describe("evaluate", function()
  it("leaves every part of the model in its mode", function()
    local m = build("pelk")
    m:train()
    m:get("stages.0"):eval()
    pelk.evaluate(m, pelk.data.loader(set(8, 4), { batch = 8 }), { progress = false })
    assert.is_true(m.training)
    assert.is_false(m:get("stages.0").training)
  end)

  it("counts confusions and averages crops", function()
    local m = build("pelk")
    local loader = pelk.data.loader(set(20, 4), { batch = 7 })
    local plain = pelk.evaluate(m, loader, { progress = false, confusion = true })
    local right, all = 0, 0
    for i, row in ipairs(plain.confusion) do
      for j, n in ipairs(row) do
        all = all + n
        if i == j then right = right + n end
      end
    end
    assert.are.equal(20, all)
    assert.are.equal(plain.top1, 100 * right / all)
    assert.are.equal(plain.loss, pelk.evaluate(m, loader, { progress = false }).loss)
    local cropped = pelk.evaluate(m, loader, { progress = false, crops = 5, crop_size = 12 })
    assert(math.abs(cropped.loss - plain.loss) < 1e-5) -- five times the whole picture
    assert.are.equal(20, pelk.evaluate(m, loader, { progress = false, crops = 5, crop_size = 10 }).n)
    help.raises("crop_size is 13", pelk.evaluate, m, loader, { progress = false, crops = 5, crop_size = 13 })
    help.raises("1 or 5", pelk.evaluate, m, loader, { crops = 3 })
  end)

  it("averages a picture and its mirror image", function()
    local m, ds = build("pelk"), set(20, 4)
    local both = pelk.evaluate(m, pelk.data.loader(ds, { batch = 7 }), { progress = false, flip = true })
    local x = pelk.ops.mul(ds.x, 1)
    local turned = x:clone()
    for i = 1, x:size(3) do turned:narrow(3, i, 1):copy_(x:narrow(3, x:size(3) + 1 - i, 1)) end
    m:eval()
    local mean = (pelk.ops.softmax(m(x)) + pelk.ops.softmax(m(turned))) / 2
    assert(math.abs(pelk.ops.cross_entropy(mean:log(), ds.y):item() - both.loss) < 1e-5)
    assert.are_not.equal(both.loss, pelk.evaluate(m, pelk.data.loader(ds, { batch = 7 }), { progress = false }).loss)
  end)
end)

-- The training loop: learns, logs, resumes to the last bit, stops when asked, and does not hide what went wrong.
local pelk = require("pelk")
local core = require("pelk.core")
local json = require("pelk.json")

local help = require "spec.help"

local function temporary() return help.folder(true) end
local remove = help.remove

local set = help.spots

local function model()
  pelk.manual_seed(3)
  return pelk.models.create("pelk_nano", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 13, 7 }, num_classes = 2,
    drop_path = 0.2 })
end

local function run(overrides)
  local o = {
    model = model(), train = pelk.data.loader(set(48, 1), { batch = 8, shuffle = true, seed = 5 }),
    val = pelk.data.loader(set(16, 2), { batch = 8 }), epochs = 3, seed = 11, progress = false,
    optimizer = { name = "adamw", lr = 3e-3 }, schedule = { kind = "cosine", warmup_epochs = 0.5 },
  }
  for k, v in pairs(overrides or {}) do o[k] = v end
  return pelk.train(o), o.model
end

local same = help.same_state

local function lines(path)
  local n = 0
  for _ in io.lines(path) do n = n + 1 end
  return n
end

describe("train", function()
  it("learns", function()
    local history = run({ epochs = 8 })
    assert.are.equal(8, #history)
    assert(history[8].train_loss < 0.7 * history[1].train_loss, tostring(history))
    assert(history[8].eval_top1 >= 90, tostring(history))
    assert(tostring(history):find("epoch"))
  end)

  it("leaves config, summary, log and weights in its folder", function()
    local dir = temporary()
    local _, m = run({ out = dir .. "/deep/run" })
    local at = dir .. "/deep/run/"
    local config = json.decode(io.open(at .. "config.json"):read("a"))
    assert.are.equal(3, config.epochs)
    assert.are.same({ 8, 16 }, config.model.dims)
    assert.are.equal(4, lines(at .. "summary.csv"))
    assert.are.equal(3, lines(at .. "log.jsonl"))
    local again = model()
    assert(again:load(at .. "last.safetensors"))
    assert(same(m, again))
    assert(again:load(at .. "best.safetensors"))
    remove(dir)
  end)

  it("does not overwrite a run unless asked to go on with it", function()
    local dir = temporary()
    run({ out = dir, epochs = 1 })
    local ok, message = pcall(run, { out = dir, epochs = 1 })
    assert(not ok and message:find("resume = true"), message)
    local history = run({ out = dir, epochs = 1, resume = true })
    assert.are.equal(1, #history)
    remove(dir)
  end)

  it("goes on after a signal in the middle of an epoch, to the last bit", function()
    local whole, first = run()
    local dir = temporary()
    local steps = 0
    local stopped = run({ out = dir, callbacks = { step = function()
      steps = steps + 1
      if steps == 9 then os.execute("kill -TERM $PPID") end
    end } })
    assert.are.equal("SIGTERM", stopped.interrupted)
    assert.are.equal(1, #stopped)
    local rest, second = run({ out = dir, resume = true })
    assert.are.equal(3, #rest)
    local equal, name = same(first, second)
    assert(equal, tostring(name) .. " differs")
    for i = 1, 3 do
      assert.are.equal(whole[i].train_loss, rest[i].train_loss)
      assert.are.equal(whole[i].eval_loss, rest[i].eval_loss)
    end
    remove(dir)
  end)

  it("trains sparse, and goes on with its masks after a signal, to the last bit", function()
    local function sparse(more)
      local o = { sparse = { density = 0.5, init = "snip", snip_batches = 2, growth = "gradient", update_every = 4 } }
      for k, v in pairs(more or {}) do o[k] = v end
      return run(o)
    end
    local whole, first = sparse()
    assert(math.abs(whole.sparse:density() - 0.5) < 0.01)
    assert.are.equal(4, whole.sparse:report().updates)
    local dir, steps = temporary(), 0
    sparse({ out = dir, callbacks = { step = function()
      steps = steps + 1
      if steps == 9 then os.execute("kill -TERM $PPID") end
    end } })
    local rest, second = sparse({ out = dir, resume = true })
    local equal, name = same(first, second)
    assert(equal, tostring(name) .. " differs")
    for key, mask in pairs(whole.sparse:masks()) do assert(mask:equal(rest.sparse:masks()[key]), key) end
    local text
    for line in io.lines(dir .. "/log.jsonl") do text = line end
    local log = json.decode(text)
    assert.are.equal(18, log.sparse.steps)
    assert(log.sparse.layers["head.fc.weight"].density > 0)
    local file = io.open(dir .. "/last.sparse.safetensors", "rb")
    assert(file):close()
    local ok, message = pcall(run, { out = dir, resume = true })
    assert(not ok and message:find("had masks"), message)
    ok, message = pcall(sparse, { sparse = { init = "snip", snip_batches = 99 } })
    assert(not ok and message:find("an epoch has 6 batches"), message)
    remove(dir)
  end)

  it("gives the same weights on 1, 2, 3 and 4 threads", function()
    local before = core.threads()
    local reference
    for threads = 1, 4 do
      pelk.set_threads(threads)
      local _, m = run({ epochs = 1 })
      reference = reference or m
      local equal, name = same(reference, m)
      assert(equal, ("%s differs on %d threads"):format(name, threads))
    end
    pelk.set_threads(before)
  end)

  it("takes nothing from the system in a steady step", function()
    local calls = {}
    run({ epochs = 2, callbacks = { step = function()
      collectgarbage() -- whatever else lives in this process: what a step left goes before the next
      calls[#calls + 1] = pelk.memory().system_calls
    end } })
    assert.are.equal(calls[#calls - 3], calls[#calls])
  end)

  it("stops at a loss that is not finite, the weights untouched", function()
    local m = model()
    local before = m:clone()
    local ok, message = pcall(run, { model = m, loss = function(logits) return logits:sum() * (0 / 0) end })
    assert(not ok and message:find("epoch 1, batch 1"), message)
    for name, t in pairs(m:state_dict()) do
      if not name:find("running") then assert(t:equal(before:state_dict()[name]), name) end
    end
  end)

  it("runs with SGD, a loss of one's own and clipped gradients", function()
    local history = run({ optimizer = { name = "sgd", lr = 0.05, momentum = 0.9, nesterov = true }, clip_grad = 1,
      loss = function(logits, y) return pelk.ops.cross_entropy(logits, y, { label_smoothing = 0.1 }) end })
    assert(history[3].train_loss < history[1].train_loss)
  end)

  it("says what it was given and what it wants", function()
    for _, case in ipairs({
      { { epoch = 3 }, "epochs" }, { { epochs = 0 }, "epochs" }, { { train = {} }, "loader" },
      { { optimizer = { name = "adam" } }, "adamw or sgd" }, { { optimizer = { lrr = 1 } }, "lr" },
      { { schedule = { kind = "stairs" } }, "cosine" }, { { callbacks = { batch = print } }, "step and epoch" },
      { { loss = { label_smooth = 1 } }, "label_smoothing" }, { { model = pelk.zeros({ 2 }) }, "got pelk.Tensor" },
      { { optimizer = pelk.optim.sgd(model()) }, "not the model's" },
      { { clip_grad = 0 }, "clip_grad must be above 0" },
      { { schedule = { kind = "step", decay_epochs = 0 } }, "decay_epochs must be a number above 0, got 0" },
      { { loss = { label_smoothing = 1.5 } }, "label_smoothing must be below 1" },
      { { resume = true }, "out" }, { { out = "/proc/nowhere" }, "/proc" }, { { model = "pelk" }, "model" },
    }) do
      local ok, message = pcall(run, case[1])
      assert(not ok and message:find(case[2]), tostring(message))
    end
  end)

  it("leaves no masks on the model when it cannot begin", function()
    local m = model()
    local given = { model = m, sparse = { density = 0.5, init = "erk" }, epochs = 1 }
    given.ema = { publish = "x" }
    help.raises("ema.publish must be", run, given)
    given.ema = nil
    assert.equal(1, #run(given))
    pelk.sparse.detach(m)
  end)

  it("leaves alone what is frozen while it runs, and refuses what is unfrozen", function()
    local m, before = model(), nil
    run { model = m, clip_grad = 5, optimizer = { name = "adamw", lr = 3e-3, weight_decay = 0.5 }, epochs = 2,
      callbacks = { epoch = function(row)
        if row.epoch > 1 then return end
        m:freeze("^stages")
        before = m:get("stages.1.blocks.0").gamma:detach():clone()
      end } }
    assert(m:get("stages.1.blocks.0").gamma:equal(before))
    help.raises("unfrozen within the run", run, { model = m,
      callbacks = { epoch = function() m:unfreeze("^stages") end } })
  end)

  it("keeps parts in evaluation that were so before it began", function()
    local m = model()
    m.stages[1]:eval()
    local norm
    for path, module in m:modules() do
      if not norm and path:find("^stages.0") and module:class() == "BatchNorm" then norm = module end
    end
    local before = norm.running_mean:clone()
    run { model = m, epochs = 2 }
    assert(norm.running_mean:equal(before))
    assert.is_false(m.stages[1].training)
  end)

  it("takes a schedule, a loss and loaders of one's own, and says what they lack", function()
    local rates, images = {}, nil
    run { epochs = 1, schedule = function(step) return 1e-3 / (step + 1) end,
      loss = function(logits, y, x) images = x:shape() return pelk.ops.cross_entropy(logits, y) end,
      callbacks = { step = function(info) rates[#rates + 1] = info.lr end } }
    assert.near(1e-3 / 6, rates[6], 1e-9)
    assert.same({ 8, 12, 12, 1 }, { images[1], images[2], images[3], images[4] })
    help.raises("the loss must be a tensor of one number, got nil", run, { loss = function() end })
    help.raises("which has epoch, batches and size", run, { train = { epoch = print } })
    local train, val = set(48, 1), set(16, 2)
    train.classes, val.classes = { "a", "b" }, { "b", "a" }
    help.raises("class 1 is a in train and b in val", run, { train = pelk.data.loader(train, { batch = 8 }),
      val = pelk.data.loader(val, { batch = 8 }) })
  end)

  it("goes on from masks of a file", function()
    local m, dir = model(), help.folder()
    local s = pelk.sparse.attach(m, { density = 0.5, init = "erk" })
    local file = dir .. "/masks.safetensors"
    assert(s:save(file))
    s:detach()
    local steps = 0
    run { sparse = { checkpoint = file }, out = dir .. "/run", callbacks = { step = function()
      steps = steps + 1
      if steps == 7 then os.execute("kill -TERM $PPID") end
    end } }
    local rest = run { sparse = { checkpoint = file }, out = dir .. "/run", resume = true }
    assert.equal(3, #rest)
    remove(dir)
  end)

  it("gives SNIP images that are not mixed", function()
    local seen
    local loader = pelk.data.loader(set(48, 1), { batch = 8, seed = 5, mixup = pelk.data.mixup { num_classes = 2 } })
    run { epochs = 1, train = loader, sparse = { density = 0.5, init = "snip", loss = function(logits, y)
      seen = y:dtype()
      return pelk.ops.cross_entropy(logits, y)
    end } }
    assert.equal("int32", seen)
    assert.truthy(loader.mixup)
  end)

  it("refuses to resume from what is no state", function()
    local dir = temporary()
    run({ out = dir, epochs = 1 })
    for _, name in ipairs(help.names(dir .. "/checkpoints")) do
      assert(core.write_file(dir .. "/checkpoints/" .. name, "not a state"))
    end
    local ok, message = pcall(run, { out = dir, epochs = 2, resume = true })
    assert(not ok and message:find("cannot resume"), message)
    remove(dir)
  end)
end)

describe("evaluate", function()
  it("counts, and leaves the model's mode as it was", function()
    local m = model()
    local result = pelk.evaluate(m, pelk.data.loader(set(20, 4), { batch = 7 }), { progress = false })
    assert.are.equal(20, result.n)
    assert.are.equal(100, result.top5)
    assert.is_true(m.training)
    assert(tostring(result):find("top%-1"))
  end)

  it("takes the mean with the mirror image, at any width", function()
    for _, width in ipairs { 1, 2, 15, 16, 31, 34 } do
      local x = pelk.randn { 3, 2, width, 1 }
      local mirror = x:clone()
      for i = 1, width do mirror:narrow(3, i, 1):copy_(x:narrow(3, width + 1 - i, 1)) end
      local net = pelk.nn.Sequential():add(pelk.nn.Flatten()):add(pelk.nn.Linear(2 * width, 4))
      local mean = (pelk.ops.softmax(net(x)) + pelk.ops.softmax(net(mirror))) / 2
      local labels, loss = { 1, 4, 2 }, 0
      for i, label in ipairs(labels) do loss = loss - math.log(mean:narrow(1, i, 1):narrow(2, label, 1):item()) / 3 end
      local images = pelk.data.tensors(x, pelk.tensor(labels, { 3 }, { dtype = "int32" }))
      local got = pelk.evaluate(net, pelk.data.loader(images, { batch = 3 }), { progress = false, flip = true })
      assert(math.abs(got.loss - loss) < 1e-5, ("width %d: %g, not %g"):format(width, got.loss, loss))
    end
  end)
end)

describe("optim", function()
  it("skips weight decay on one-dimensional parameters, position maps and named ones", function()
    local m = model()
    local before = m:clone()
    local opt = pelk.optim.adamw(m, { lr = 0.1, weight_decay = 0.5, no_decay = { "head.fc" } })
    opt:zero_grad()
    opt:step()
    for name, t in pairs(m:state_dict()) do
      local old = before:state_dict()[name]
      local kept = t:dim() == 1 or name:find("position") or name:find("head.fc") or name:find("running")
      if kept then
        assert(t:equal(old), name .. " was changed")
      else
        assert(t:allclose(old * (1 - 0.1 * 0.5), { rtol = 1e-6 }), name .. " was not decayed")
      end
    end
  end)

  it("keeps the last of two optimisers of a model, and says so to the first", function()
    local m = model()
    local first = pelk.optim.sgd(m)
    pelk.optim.sgd(m)
    local ok, message = pcall(first.step, first)
    assert(not ok and message:find("later optimiser"), message)
  end)

  it("clips by the common norm", function()
    local m = model()
    local y = m(pelk.randn({ 4, 12, 12, 1 }))
    pelk.ops.sum(y * y):backward()
    local norm = pelk.optim.grad_norm(m)
    assert(norm > 0)
    assert.are.equal(norm, pelk.optim.clip_grad_norm(m, norm / 4))
    assert(math.abs(pelk.optim.grad_norm(m) - norm / 4) < 1e-4 * norm)
  end)

  it("schedules warm up and fall", function()
    local lr = pelk.optim.schedule({ lr = 1, warmup_steps = 4, total_steps = 14, min_lr = 0 })
    assert.are.equal(0.25, lr(0))
    assert.are.equal(1, lr(4))
    assert(math.abs(lr(9) - 0.5) < 1e-12)
    assert(lr(14) < 1e-12 and lr(99) < 1e-12)
    local line = pelk.optim.schedule({ kind = "linear", lr = 1, total_steps = 10, min_lr = 0.5 })
    assert.are.equal(0.75, line(5))
    local steps = pelk.optim.schedule({ kind = "step", lr = 1, warmup_steps = 2, total_steps = 9, decay_steps = 3,
      decay_rate = 0.5, min_lr = 0.3 })
    local rates = {}
    for i = 1, 9 do rates[i] = steps(i - 1) end
    assert.are.same({ 0.5, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.3 }, rates)
    for wanted, given in pairs({ ["did you mean 'total_steps'"] = { total_step = 3 }, ["lr is required"] = {},
      ["decay_steps is required"] = { kind = "step", lr = 1, total_steps = 3 },
      ["constant, cosine"] = { kind = "x" } }) do
      local ok, message = pcall(pelk.optim.schedule, given)
      assert(not ok and message:find(wanted), tostring(message))
    end
  end)
end)

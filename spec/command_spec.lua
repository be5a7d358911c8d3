-- The pelk command, run as a user runs it; and the recipes it takes.
local pelk = require("pelk")
local core = require("pelk.core")
local flags = require("pelk.command.flags")
local help = require "spec.help"
local json = require("pelk.json")
local train = require("pelk.command.train")

local program = ("LUA_CPATH=%q lua5.4 bin/pelk "):format(package.cpath)

--- Status, standard output and standard error of a command line.
local function pelk_command(words)
  local dir = help.folder()
  local _, _, status = os.execute(("%s %s >'%s/out' 2>'%s/err'"):format(program, words, dir, dir))
  local out, err = help.read(dir .. "/out"), help.read(dir .. "/err")
  help.remove(dir)
  return status, out, err
end

--- Dark and light pictures: train/ and val/ of two class folders.
local function pictures()
  local dir = help.folder(true)
  pelk.manual_seed(1)
  for _, split in ipairs({ "train", "val" }) do
    for class, name in ipairs({ "dark", "light" }) do
      local folder = ("%s/%s/%s"):format(dir, split, name)
      assert(core.make_dir(folder))
      for i = 1, 20 do
        assert(pelk.viz.save_png(pelk.rand({ 20, 24, 3 }) * 0.3 + (class - 1) * 0.6, ("%s/%d.png"):format(folder, i)))
      end
    end
  end
  return dir
end

local images = pictures()
local small = ("--data_set image_folder --data_path %s --input_size 16 --batch_size 8 --model pelk_nano --depths 1 1 "
  .. "--dims 8 16 --kernel_size 13 7 --quiet "):format(images)

describe("pelk", function()
  teardown(function() help.remove(images) end)

  it("teaches", function()
    local status, out = pelk_command("--help")
    assert.are.equal(0, status)
    for _, command in ipairs({ "train", "eval", "predict", "summary", "export", "bench", "sweep" }) do
      assert.truthy(out:find("pelk " .. command, 1, true))
      local code, text = pelk_command(command .. " --help")
      assert.are.equal(0, code)
      assert.truthy(text:find("%-%-threads"))
    end
    assert.truthy(select(2, pelk_command("train --help")):find("--update_freq", 1, true))
    assert.truthy(select(2, pelk_command("--version")):find("pelk " .. pelk._VERSION, 1, true))
  end)

  it("ends with status 2 and a hint after wrong use, 1 after failures", function()
    for words, wanted in pairs({
      [""] = "", ["trian"] = "did you mean 'train'", ["train --modle x"] = "did you mean 'model'",
      ["train --epochs many"] = "--epochs must be a whole number", ["train --model pelk_nano"] = "--data_set is",
      ["summary --depth"] = "wants a value", ["train --opt adam"] = "adamw, sgd, lamb", ["export"] = "--output",
      ["predict"] = "wants pictures", ["sweep"] = "wants a script", ["sweep a b"] = "one folder",
      ["sweep a --format json"] = "text csv markdown latex", ["train -x"] = "unknown flag",
      ["train --model pelk_nano epochs=20"] = "'epochs=20' stands alone", ["train --resume run.pth"] = "'run.pth'",
      ["train --model pelk_nano --sched step"] = "--sched step wants --decay_epochs",
    }) do
      local status, _, err = pelk_command(words)
      assert.are.equal(2, status, words)
      assert.truthy((err:gsub("adamw sgd lamb", "adamw, sgd, lamb")):find(wanted, 1, true), words .. ": " .. err)
    end
    local status, _, err = pelk_command("summary --model pelk_nanoo")
    assert.are.equal(1, status)
    assert.truthy(err:find("did you mean 'pelk_nano'", 1, true), err)
    assert.are.equal(1, (pelk_command("eval --run /nowhere")))
  end)

  it("summarises and measures", function()
    local _, names = pelk_command("summary")
    assert.truthy(names:find("pelk_tiny"))
    local status, out = pelk_command("summary --model pelk_nano --input_size 28")
    assert.are.equal(0, status)
    assert.truthy(out:find("parameters"))
    status, out = pelk_command("bench --model pelk_nano --depths 1 1 --dims 8 16 --kernel_size 13 7 --input_size 12 "
      .. "--batch_size 2 --repeats 1")
    assert.are.equal(0, status)
    assert.truthy(out:find("training step") and out:find("inference"))
    -- a process that ends right after parallel work: its threads may still be in the library
    local ends = ("LUA_CPATH=%q lua5.4 -e 'core = require(\"pelk.core\"); local x = core.randn({ 200000 }) * 2'")
      :format(package.cpath)
    for _ = 1, 30 do assert.is_true(os.execute(ends)) end
  end)

  it("runs a sweep's script and shows what it found", function()
    local dir = help.folder()
    local script = help.write(dir .. "/s.lua", [[
local sweep = require("pelk").sweep
local n = 0
local r = sweep { dir = arg[1], space = { a = sweep.integer(1, 3) }, progress = false, objective = function(p)
  n = n + 1
  if p.a == 2 and arg[2] and n == 2 then os.execute("kill -TERM $PPID") end
  return p.a
end }
print(#r)]])
    local status, out, err = pelk_command(("sweep %s %s/sweep stop"):format(script, dir))
    assert.are.same({ 143, "3\n" }, { status, out }, err)
    status, out = pelk_command(("sweep %s %s/sweep"):format(script, dir))
    assert.are.same({ 0, "3\n" }, { status, out })
    status, out = pelk_command(("sweep %s/sweep"):format(dir))
    assert.are.equal(0, status)
    assert.truthy(out:find("3  done +3.*2  done +2.*1  done +1"), out)
    status, out = pelk_command(("sweep %s/sweep --sort a --state done --format markdown --merge"):format(dir))
    assert.are.equal(0, status)
    assert.truthy(out:find("| a | state | value | seconds |\n.*\n| 1 | done | 1 |.*\n| 3 | done | 3 |"), out)
    status = pelk_command(("sweep %s/sweep --format csv --output %s/t.csv"):format(dir, dir))
    assert.are.equal(0, status)
    assert.truthy(help.read(dir .. "/t.csv"):find("^id,a,state,value,seconds\n"))
    status, out, err = pelk_command(("sweep %s/none"):format(dir))
    assert.are.same({ 1, "" }, { status, out })
    assert.truthy(err:find("holds no sweep"))
    help.remove(dir)
  end)

  it("trains, evaluates and exports a run", function()
    local dir = help.folder(true)
    local status, out, err = pelk_command("train " .. small .. "--epochs 2 --update_freq 2 --model_ema --tensorboard "
      .. "--opt lamb --drop_path 0.1 --layer_decay 0.9 --aa rand-m9-mstd0.5-inc1 --mixup 0.8 --cutmix 1 --reprob 0.25 "
      .. "--output_dir " .. dir)
    assert.are.equal(0, status, err)
    assert.truthy(out:find("ema top%-1"))
    status, out = pelk_command(("eval --run %s --confusion"):format(dir))
    assert.are.equal(0, status)
    assert.truthy(out:find("on 40 images") and out:find("light"))
    status, out, err = pelk_command(("predict --run %s %s/val/dark/3.png %s/val/light/none.png --topk 1"):format(dir,
      images, images))
    assert.are.equal(1, status) -- one of them is not there
    assert.truthy(out:find("3%.png\n  [ %d.]+ %%  %a+\n"), out)
    assert.truthy(err:find("none.png: No such file", 1, true), err)
    status, out = pelk_command(("eval --run %s --crops 5"):format(dir))
    assert.are.equal(0, status)
    assert.truthy(out:find("on 40 images"))
    status = pelk_command(("export --run %s --merge --output %s/merged.safetensors"):format(dir, dir))
    assert.are.equal(0, status)
    assert.truthy(core.load_tensors(dir .. "/merged.safetensors"))
    local sparse = help.folder(true)
    status, out, err = pelk_command(("train %s --epochs 1 --sparse --sparsity 0.5 --update_frequency 2 --finetune "
      .. "%s/last.safetensors --output_dir %s"):format(small, dir, sparse))
    assert.are.equal(0, status, err)
    assert.truthy(out:find("train loss"))
    assert.truthy(core.load_tensors(sparse .. "/last.sparse.safetensors"))
    help.remove(sparse)
    status, out, err = pelk_command("train " .. small .. "--epochs 2 --output_dir " .. dir)
    assert.are.equal(1, status)
    assert.truthy(err:find("holds a run already") and out == "")
    help.remove(dir)
  end)

  it("reads the published commands of ConvNeXt and SLaK", function()
    local function read(line)
      local words = {}
      for word in line:gmatch("%S+") do words[#words + 1] = word end
      return flags.read(train.flags, words)
    end
    local v, given, rest = read [[--Decom True --sparse --width_factor 1.3 -u 2000 --sparsity 0.4 --sparse_init snip
      --prune_rate 0.5 --growth random --epochs 300 --model SLaK_tiny --drop_path 0.1 --batch_size 64 --lr 4e-3
      --update_freq 8 --model_ema true --model_ema_eval true --data_path /path/to/imagenet-1k --num_workers 40
      --kernel_size 51 49 47 13 5 --output_dir /path/to/save_results]]
    assert.are.same({ true, true, 1.3, 2000, "SLaK_tiny", true, { 51, 49, 47, 13, 5 } }, { v.Decom, v.sparse,
      v.width_factor, v.update_frequency, v.model, v.model_ema, v.kernel_size })
    assert.is_true(given.update_frequency)
    assert.are.same({}, rest)
    v = read [[--model convnext_tiny --drop_path 0.1 --batch_size 128 --lr 4e-3 --update_freq 4 --model_ema true
      --model_ema_eval true --data_path /path/to/imagenet-1k --output_dir /path/to/save_results --auto_resume false
      --use_amp false]]
    assert.are.same({ false, 4, true }, { v.resume, v.update_freq, v.model_ema_eval })
    v = read [[--model convnext_base --eval_data_path val --data_set image_folder --nb_classes 7 --warmup_epochs 0
      --finetune checkpoint.pth --input_size 384 --cutmix 0 --mixup 0 --layer_decay 0.7 --head_init_scale 0.001
      --auto_resume true]]
    assert.are.same({ "val", 0.001, true }, { v.eval_data_path, v.head_init_scale, v.resume })
    for line, wanted in pairs({ ["--use_amp true"] = "float32 only", ["--weight_decay_end 0.1"] = "constant",
      ["--remode pixels"] = "pixel rand const" }) do
      local ok, wrong = pcall(read, line)
      assert(not ok and wrong.text:find(wanted, 1, true), line)
    end
    for mode in pairs({ pixel = 1, rand = 1, const = 1 }) do
      local erasing = pelk.data.transforms.random_erasing { mode = read("--remode " .. mode).remode }
      assert.are.equal(mode, erasing:options().mode)
    end
  end)

  it("runs a published command in small, and finds the names of its model and data", function()
    local dir = help.folder(true)
    local words = ("train --Decom %%s --sparse -u 2 --model SLaK_tiny --depths 1 1 1 1 --dims 8 8 8 8 --kernel_size "
      .. "9 7 7 5 3 --width_factor 1.3 --model_ema true --model_ema_eval true --batch_size 8 --epochs 1 "
      .. "--input_size 32 --data_path %s --eval_data_path %s/val --aa rand-m9-mstd0.5-inc1 --reprob 0.25 "
      .. "--remode const --quiet --auto_resume true --output_dir %s/%%s"):format(images, images, dir)
    local status, out, err = pelk_command(words:format("True", "stripes"))
    assert.are.equal(0, status, err)
    assert.truthy(out:find("ema top%-1"))
    assert.are.equal("slak_tiny", json.decode(help.read(dir .. "/stripes/command.json")).model) -- though with --resume
    local dense, _, why = pelk_command(words:format("False", "dense"))
    assert.are.equal(0, dense, why)
    assert.are.equal("slak_tiny_dense", json.decode(help.read(dir .. "/dense/command.json")).model)
    local before = help.read(dir .. "/dense/command.json")
    assert.are.equal(1, (pelk_command("train " .. small .. "--epochs 1 --output_dir " .. dir .. "/dense")))
    assert.are.equal(before, help.read(dir .. "/dense/command.json")) -- what is refused changes nothing
    assert(core.make_dir(dir .. "/full/command.json"))
    local full, _, message = pelk_command("train " .. small .. "--epochs 1 --output_dir " .. dir .. "/full")
    assert.are.equal(1, full)
    assert.truthy(message:find("command.json", 1, true), message)
    help.remove(dir)
  end)

  it("goes on at a higher resolution with weights of other kernels", function()
    local dir = help.folder(true)
    assert.are.equal(0, (pelk_command("train " .. small .. "--epochs 1 --output_dir " .. dir .. "/low")))
    local higher = ("train %s --epochs 1 --finetune %s/low/last.safetensors --output_dir %s/%%s --input_size 24 "
      .. "--kernel_size 15 9"):format(small, dir, dir)
    assert.are.equal(1, (pelk_command(higher:format("refused"))))
    local status, out, err = pelk_command(higher:format("high") .. " --resize --lr 1e-4")
    assert.are.equal(0, status, err)
    assert.truthy(out:find("train loss"))
    help.remove(dir)
  end)

  it("saves and ends with 128 + the signal, within ten seconds, and goes on to the same weights", function()
    local whole = help.folder(true)
    local words = "train " .. small .. "--epochs 6 --seed 5 --model_ema --model_ema_decay 0.9 --output_dir "
    assert.are.equal(0, (pelk_command(words .. whole)))
    for signal, wanted in pairs({ INT = 130, TERM = 143, USR1 = 138 }) do
      local dir = help.folder(true)
      -- the signal comes when the first epoch is in the log; then the command has ten seconds
      local script = ([[
        set -m
        exec 3>&2
        %s %s >/dev/null 2>&1 & p=$!
        until [ -s %s/log.jsonl ]; do sleep 0.01; kill -0 $p || exit 99; done
        kill -%s $p
        ( sleep 10; kill -9 $p 2>/dev/null ) 2>/dev/null & dog=$!
        wait $p; status=$?
        kill $dog 2>/dev/null
        exit $status]]):format(program, words .. dir, dir, signal)
      local path = os.tmpname()
      help.write(path, script)
      local _, _, status = os.execute("bash " .. path .. " 2>/dev/null")
      os.remove(path)
      assert.are.equal(wanted, status, signal)
      assert.are.equal(0, (pelk_command(words .. dir .. " --resume")))
      local ours, theirs = core.load_tensors(dir .. "/last_ema.safetensors"),
        core.load_tensors(whole .. "/last_ema.safetensors")
      for name, value in pairs(theirs) do assert(value:equal(ours[name]), name .. " differs after SIG" .. signal) end
      help.remove(dir)
    end
    help.remove(whole)
  end)
end)

describe("recipes", function()
  it("hold the papers' values, each with its source", function()
    local r = pelk.recipes.get("convnext", "base")
    assert.are.same({ 300, 4096, 4e-3, 20, 0.05, 0.5, 0.9999, 0.8, 1.0, 0.25, 0.1 }, { r.epochs, r.total_batch, r.lr,
      r.warmup_epochs, r.weight_decay, r.drop_path, r.model_ema_decay, r.mixup, r.cutmix, r.reprob, r.smoothing })
    r = pelk.recipes.get("replknet")
    assert.are.same({ 2048, 10, 0.5 }, { r.total_batch, r.warmup_epochs, r.drop_path })
    r = pelk.recipes.get("slak", "tiny")
    assert.are.same({ 0.5, 2000, 0.4, 0.1 }, { r.prune_rate, r.update_frequency, r.sparsity, r.drop_path })
    assert.are.same({ 0.3, 100 }, { pelk.recipes.get("pelk", "base").prune_rate,
      pelk.recipes.get("pelk", "base").update_frequency })
    r = pelk.recipes.get("finetune384", "large")
    assert.are.same({ 30, 512, 5e-5, 0, 1e-8, 0.7, 0.001, 0.95, 0, 0, 384 }, { r.epochs, r.total_batch, r.lr,
      r.warmup_epochs, r.weight_decay, r.layer_decay, r.head_init_scale, r.drop_path, r.mixup, r.cutmix, r.input_size })
    r = pelk.recipes.get("finetune384_replknet")
    assert.are.same({ 30, 1024, 4e-4, 1, 1e-8, 0.7, 0.8, 0, 0, 384, true }, { r.epochs, r.total_batch, r.lr,
      r.warmup_epochs, r.weight_decay, r.layer_decay, r.drop_path, r.mixup, r.cutmix, r.input_size, r.model_ema })
    r = pelk.recipes.get("finetune384_22k", "xlarge")
    assert.are.same({ 0.8, 0.4, 5e-5, 0.001 }, { r.layer_decay, r.drop_path, r.lr, r.head_init_scale })
    for _, name in ipairs(pelk.recipes.list()) do
      local sources = pelk.recipes.sources(name)
      for key in pairs(pelk.recipes.get(name, "base")) do assert(#sources[key] > 10, name .. "." .. key) end
    end
    assert.truthy(pelk.recipes.sources("pelk").lr:find("^inferred"))
    help.raises("did you mean 'slak'", pelk.recipes.get, "slack")
    help.raises("of size huge", pelk.recipes.get, "slak", "huge")
  end)

  it("become options of train and of the model", function()
    local o = pelk.recipes.options(pelk.recipes.get("convnext", "tiny"), 256)
    assert(math.abs(o.optimizer.lr - 4e-3 / 16) < 1e-12)
    local small_model = { dims = { 8, 8, 8, 8 }, num_classes = 3 }
    for k, v in pairs(o.model) do small_model[k] = v end
    local m = pelk.models.create("convnext_tiny", small_model)
    assert(pelk.optim.adamw(m, { lr = o.optimizer.lr, beta1 = o.optimizer.beta1, eps = o.optimizer.eps }))
    assert.are.equal(0.9999, o.ema.decay)
    assert.is_nil(pelk.recipes.options(pelk.recipes.get("finetune384"), 32).mixup)
    assert.truthy(select(2, pelk_command("train --recipe_help finetune384_22k")):find("layer_decay +0%.8"))
    -- a whole run by SLaK's recipe: what options gives is what train takes
    o = pelk.recipes.options(pelk.recipes.get("slak"), 8)
    assert.are.same({ 0.6, 2000, 1.0 }, { o.sparse.density, o.sparse.update_every, o.mixup.cutmix_alpha })
    m = pelk.models.create("slak_tiny", { depths = { 1, 1 }, dims = { 8, 8 }, kernels = { 7, 5 }, stem = 2,
      num_classes = 2, drop_path = o.model.drop_path, layer_scale = o.model.layer_scale })
    local labels = core.tensor({ 1, 2, 1, 2, 2, 1, 2, 1 }, { 8 }, { dtype = "int32" })
    local loader = pelk.data.loader(pelk.data.tensors(pelk.rand({ 8, 12, 12, 3 }), labels), { batch = 8 })
    o.model, o.train, o.epochs, o.progress, o.schedule.warmup_epochs = m, loader, 2, false, 1
    local history = pelk.train(o)
    assert.are.equal(2, #history)
    assert.near(0.6, history.sparse:density(), 0.01)
  end)
end)

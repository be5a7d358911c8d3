-- From training to elsewhere: a trained network is merged (batch norms, the small kernel and the position map go into
-- the large kernel), checked against itself, saved as safetensors under PyTorch's names and layouts, and written as
-- ONNX. Some seconds.
--   lua5.4 examples/09_export.lua [out=runs/export] [steps=100] [tests=2000]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/export", steps = 100, tests = 2000 }
local out = example.folder(settings.out)

local train, test = example.fashion_mnist(64, settings.steps * 64, settings.tests)
pelk.manual_seed(1)
local options = { dims = { 24, 48, 96 }, depths = { 1, 2, 1 } }
local model = pelk.models.create("pelk_nano", options)
example.fit(model, train, settings.steps, 3e-3)
print("trained: " .. tostring(pelk.evaluate(model, test, { progress = false })))

-- Merge a copy, and look whether it still computes the same.
local merged = model:clone()
local _, report = merged:merge()
print("\n" .. tostring(report) .. "\n")
local x = test:epoch(1)()
model:eval()
local before, after = pelk.no_grad(model, x), pelk.no_grad(merged, x)
print(("merged:  %s"):format(tostring(pelk.evaluate(merged, test, { progress = false }))))
print(("logits differ by at most %.2g"):format((before - after):abs():max():item()))

local function milliseconds(m)
  local best = math.huge
  for _ = 1, 5 do
    local began = pelk.clock()
    pelk.no_grad(function() m(x):free() end)
    best = math.min(best, pelk.clock() - began)
  end
  return 1e3 * best
end
print(("a forward of %d images: %.1f ms, merged %.1f ms"):format(x:size(1), milliseconds(model), milliseconds(merged)))

-- Files: what was saved fits the merged preset, and gives the same to the bit.
assert(merged:save(out .. "/merged.safetensors"))
options.merged = true
local again = pelk.models.create("pelk_nano", options)
assert(again:load(out .. "/merged.safetensors"))
again:eval()
print("loaded again, the same to the bit: " .. tostring(pelk.no_grad(again, x):equal(after)))
assert(pelk.export_onnx(merged, out .. "/model.onnx", { image_size = 28, dynamic_batch = true }))
print(("%s/merged.safetensors, %s/model.onnx (opset 17, input {N,1,28,28})"):format(out, out))

-- One channel's kernels before and after: the small one now sits in the centre of the large one.
local block = "stages.0.blocks.0.conv_dw."
local large, small = model:get(block .. "large.conv"), model:get(block .. "small.conv")
local whole = merged:get(block .. "reparam")
local function expanded(layer)
  local w = layer.weight:detach()
  return layer:class() == "PeripheralConv" and pelk.expand_kernel(w, pelk.grid(layer:options().kernel)) or w
end
local path, pictures, captions = out .. "/merged.png", {}, {}
for c = 1, 3 do
  for _, part in ipairs { { large, "large %d" }, { small, "small %d" }, { whole, "merged %d" } } do
    pictures[#pictures + 1] = expanded(part[1]):narrow(3, c, 1)
    captions[#captions + 1] = part[2]:format(c)
  end
end
example.drew(path, pelk.viz.sheet(pictures, path, { captions = captions, columns = 3, scale = 5, colormap = "coolwarm",
  symmetric = true }))

-- Where a network looks: CAM, Grad-CAM and PC1 of a network trained for some seconds on Fashion-MNIST pictures that are
-- set somewhere on a larger canvas, and how well the maps' boxes find them (MaxBoxAcc). Under a minute on two cores.
--   lua5.4 examples/08_cam.lua [out=runs/cam] [steps=200] [images=100]

local example = dofile((arg[0]:match("^.*/") or "") .. "common.lua")
local pelk = require("pelk")

local settings = example.settings { out = "runs/cam", steps = 200, images = 100 }

local SIDE, ITEM = 56, 28

-- n pictures of a set on canvases of faint noise, each with its box {x0,y0,x1,y1}: labels tell the class, not where.
local function scenes(set, n, seed)
  pelk.manual_seed(seed)
  local x, labels, boxes = pelk.randint(0, 40, { n, SIDE, SIDE, 1 }), {}, {}
  for i = 1, n do
    local picture, label = set:get(i)
    local top, left = math.random(0, SIDE - ITEM), math.random(0, SIDE - ITEM)
    x[i]:narrow(1, top + 1, ITEM):narrow(2, left + 1, ITEM):copy_(picture)
    labels[i], boxes[i] = label, { { left, top, left + ITEM - 1, top + ITEM - 1 }, width = SIDE, height = SIDE }
  end
  local bytes = pelk.zeros({ n, SIDE, SIDE, 1 }, { dtype = "uint8" }):copy_(x)
  return pelk.data.tensors(bytes, pelk.tensor(labels, { n }, { dtype = "int32" }), { classes = set.classes }), boxes
end

math.randomseed(1)
local train_set = scenes(assert(pelk.data.fashion_mnist { split = "train" }), settings.steps * 32, 1)
local test_set, boxes = scenes(assert(pelk.data.fashion_mnist { split = "test" }), settings.images, 2)
local t = pelk.data.transforms
local scale = { t.to_float(), t.normalize { mean = { 0.2 }, std = { 0.25 } } }

pelk.manual_seed(1)
local model = pelk.models.create("pelk_nano", { dims = { 24, 48, 96 }, depths = { 1, 2, 1 } })
local train = pelk.data.loader(train_set, { batch = 32, shuffle = true, seed = 1, transforms = scale })
print(("loss %.3f after %d steps"):format(example.fit(model, train, settings.steps, 3e-3), settings.steps))
print(pelk.evaluate(model, pelk.data.loader(test_set, { batch = 50, transforms = scale }), { progress = false }))

local pictures, captions = {}, {}
for _, method in ipairs { "cam", "gradcam", "pc1" } do
  local maps = pelk.viz.cam(model, test_set, { method = method, class = "label", transforms = scale, progress = false })
  print(method .. ": " .. tostring(pelk.viz.max_box_acc(maps, boxes, { size = SIDE })))
  for i = 1, 2 do
    pictures[#pictures + 1] = maps[i]:overlay { scale = 2, boxes = maps[i]:boxes { threshold = 0.4 }, known = boxes[i] }
    captions[#captions + 1] = method
  end
end
print("green: the picture's place, white: the box of the map's largest part above 0.4")
local path = example.folder(settings.out) .. "/cam.png"
example.drew(path, pelk.viz.sheet(pictures, path, { captions = captions, columns = 2 }))

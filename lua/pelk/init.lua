-- pelk: large-kernel ConvNets on CPUs. The module table: tensors and library functions from pelk.core; ops, nn, models,
-- optim, data, viz and train are loaded when first used.

local core = require "pelk.core"
local options = require "pelk.options"
local show = require "pelk.show"
require "pelk.module"

local pelk = {
  _VERSION = core._VERSION,
  -- the library
  set_threads = core.set_threads, threads = core.threads, set_isa = core.set_isa,
  manual_seed = core.manual_seed, reset_peak = core.reset_peak, trim = core.trim,
  clock = core.clock, no_grad = core.no_grad, with_grad = core.with_grad, grad_enabled = core.grad_enabled,
  -- tensors
  tensor = core.tensor, zeros = core.zeros, ones = core.ones, full = core.full, empty = core.empty,
  rand = core.rand, randn = core.randn, randint = core.randint, randperm = core.randperm,
  arange = core.arange, eye = core.eye,
  Tensor = core.Tensor, Module = core.Module,
}

-- config() -> {version, isa, isas, threads, cores, blas, jpeg, compiler}; prints as lines.
function pelk.config() return show.record(core.config()) end

-- memory() -> {live, peak, pooled, system_calls}: bytes, and how often memory was asked of the system; prints as lines.
function pelk.memory() return show.record(core.memory()) end

-- grid(k, {radius = 2, base = 2, rule = "truncate"}) -> the sharing grid of a k x k kernel: a list of widths.
function pelk.grid(k, given) return show.row(options.call(core.grid, k, given)) end

-- expand_kernel(w, S) -> the dense {k,k,C} kernel of a shared one {k',k',C}; S is the grid, as pelk.grid gives it.
function pelk.expand_kernel(w, S)
  return options.call(core.ops.expand_kernel, w, {grid = S})
end

-- save(path, t or {name = t}, metadata) -> true, or nil, message: .safetensors, .npz or .npy, by the path's end.
-- Metadata (strings by string) goes into safetensors only. The file is written beside and renamed.
function pelk.save(path, what, metadata) return options.call(core.save_file, path, what, metadata) end

local load_rules = {key = {"string"}, opaque = {"table"}, map = {"boolean", false}}

-- load(path, {key =, opaque =, map = false}) -> {name = tensor} (pairs in the file's order) and metadata; of an .npy
-- file the tensor alone; or nil, message. The format is told by the first bytes: safetensors, .npy, .npz, and .pth of
-- PyTorch, read without executing anything.
--   key: the entry of a .pth file that holds the tensors, "model_ema" say; without it they are looked for at the top
--     and under model, state_dict and the like
--   opaque: classes of other values in a .pth file to pass over, {"mylib.Config", "mylib.*"}, where they are not known
--   map: float32, int32 and uint8 tensors see the file itself (mmap), which must not be cut short meanwhile; writes
--     stay private
function pelk.load(path, given)
  local o = options.read("load", given, load_rules)
  local what, about = options.call(core.load_file, path, o.key, o.opaque, o.map)
  if type(what) ~= "table" then return what, about end
  return show.tensors(what), show.record(about)
end

-- Parts that are modules of their own, and functions that live in one: name -> module, field (nil: all of it).
local lazy = {
  ops = {"pelk.ops"}, nn = {"pelk.nn"}, models = {"pelk.models"}, optim = {"pelk.optim"},
  data = {"pelk.data"}, viz = {"pelk.viz"}, sparse = {"pelk.sparse"},
  sweep = {"pelk.sweep"}, grids = {"pelk.grids"}, recipes = {"pelk.recipes"}, robust = {"pelk.robust"},
  train = {"pelk.train", "train"}, evaluate = {"pelk.train", "evaluate"},
  export_onnx = {"pelk.onnx"},
}

-- A part that is not written in Lua is taken from the core.
local function load_part(name)
  local path, field = lazy[name][1], lazy[name][2]
  if not package.searchpath(path, package.path) and not package.preload[path] and core[name] ~= nil then
    return type(core[name]) == "table" and show.part("pelk." .. name, core[name]) or core[name]
  end
  local part = require(path)
  if field and type(part) == "table" then return part[field] end
  return part
end

return setmetatable(pelk, {
  __index = function(self, name)
    if lazy[name] then
      local part = load_part(name)
      rawset(self, name, part)
      return part
    end
    return core[name]
  end,
  __tostring = function() return "pelk " .. core._VERSION end,
})

--- Methods of Module that are written in Lua: files and summaries. Loaded with pelk.
local core = require("pelk.core")

local Module = core.Module

--- Write all parameters and buffers as safetensors, under their names, in PyTorch's layouts.
-- @string path written beside and renamed
-- @tab[opt] metadata strings by string
-- @treturn boolean true, or nil, message
Module.save = core.module_save

--- Read weights written by save, or by PyTorch's safetensors under the same names.
-- @string path
-- @tab[opt] options strict=true: missing and unexpected names are errors
-- @treturn boolean true, or nil, message (the model is unchanged then)
Module.load = core.module_load

--- All parameters and buffers by name, in order, in PyTorch's layouts; views, not copies.
Module.state_dict = core.module_state

--- Copy values by name from such a table.
-- @tab dict
-- @tab[opt] options strict=true
-- @raise for names and shapes that do not fit; the model is unchanged then
Module.load_state_dict = core.module_set_state

Module.summary = require("pelk.summary")

return Module

rockspec_format = "3.0"
package = "pelk"
version = "scm-1"
-- `luarocks make` in a checkout, the documented way, does not look at the url.
source = { url = "git+https://example.org/pelk.git" }
description = {
  summary = "Large-kernel ConvNets (PeLK) on CPUs",
  detailed = [[
A C core with SIMD peripheral convolution, autograd and full PeLK model assembly, driven from Lua: compose
architectures, sweep kernel configurations and run train or eval loops on the machine under the desk.]],
  license = "MIT",
  labels = { "machine-learning", "neural-network", "convolution", "simd" },
}
supported_platforms = { "unix" }
dependencies = { "lua >= 5.4, < 5.5" }
external_dependencies = {
  OPENBLAS = { library = "openblas" },
  JPEG = { header = "jpeglib.h", library = "jpeg" },
  STB = { header = "stb/stb_image_write.h" },
  JSMN = { header = "jsmn.h" },
  ZLIB = { header = "zlib.h", library = "z" },
}
build = {
  type = "make",
  variables = { -- of both passes, so that the second builds nothing anew
    CFLAGS = "$(CFLAGS)",
    LIBFLAG = "$(LIBFLAG)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    JPEG_INCDIR = "$(JPEG_INCDIR)",
    JPEG_LIBDIR = "$(JPEG_LIBDIR)",
    STB_INCDIR = "$(STB_INCDIR)",
  },
  install_variables = {
    INST_LIBDIR = "$(LIBDIR)",
    INST_LUADIR = "$(LUADIR)",
    INST_BINDIR = "$(BINDIR)",
  },
  copy_directories = { "examples" },
}
test = { type = "command", command = "make test" }

-- Small models of the five families, of two classes and one colour: arguments of pelk.models.create by name.
return {
  pelk = { "pelk_nano", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 13, 7 }, num_classes = 2,
    drop_path = 0.3 } },
  convnext = { "convnext_tiny", { depths = { 1, 1, 1 }, dims = { 6, 12, 24 }, stem = 2, num_classes = 2,
    in_channels = 1, drop_path = 0.3 } },
  slak = { "slak_tiny", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 13, 7 }, stem = 2, num_classes = 2,
    in_channels = 1, drop_path = 0.3 } },
  replknet = { "replknet_31b", { depths = { 1, 1 }, dims = { 8, 16 }, kernels = { 7, 5 }, num_classes = 2,
    in_channels = 1, drop_path = 0.3 } },
  inception_next = { "inception_next_tiny", { depths = { 1, 1 }, dims = { 16, 32 }, stem = 2, mlp_ratio = 4,
    num_classes = 2, in_channels = 1, drop_path = 0.3 } },
}

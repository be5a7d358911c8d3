--- Published settings of dynamic sparse training. Options of attach; what is given beside a preset replaces it.

--- SLaK: README of its code for sizes and rates (T: every 2000 steps 0.5; S and B: every 100 steps 0.3), section 4 of
-- arXiv 2207.03620. PeLK (arXiv 2403.07589, section 5) trains with the same ones. Grown weights keep their moments.
local function slak(update_every, prune_rate)
  return { density = 0.6, init = "snip", snip = "ratios", growth = "random", prune_rate = prune_rate,
    prune_rate_end = 0.005, update_every = update_every, keep_moments = true }
end

return {
  slak_tiny = slak(2000, 0.5), slak_small = slak(100, 0.3), slak_base = slak(100, 0.3),
  pelk_tiny = slak(2000, 0.5), pelk_small = slak(100, 0.3), pelk_base = slak(100, 0.3),
  --- RigL (Evci et al. 2020, arXiv 1911.11134): growth by gradient, every 100 steps, 0.3, for three quarters.
  rigl = { init = "erk", growth = "gradient", prune_rate = 0.3, prune_rate_end = 0, update_every = 100, stop = 0.75 },
  --- SET (Mocanu et al. 2018): random growth at a rate of 0.3 that stays.
  set = { init = "erk", growth = "random", prune_rate = 0.3, prune_rate_end = 0.3, update_every = 100 },
}

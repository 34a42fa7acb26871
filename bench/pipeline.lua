-- wrk -s pipeline.lua: every write carries 16 requests, and the next waits for all 16 replies.
local depth = 16

init = function(args)
	local one = wrk.format("GET", "/")
	local all = {}

	for i = 1, depth do
		all[i] = one
	end
	batch = table.concat(all)
end

request = function()
	return batch
end

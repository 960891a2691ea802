-- Why a line of csrc does not run in the specs: file (or "*") → a piece of the block's first line → the reason.
return {}

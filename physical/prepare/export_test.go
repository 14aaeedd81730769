package prepare

// For tests of what is not exported.
var (
	Binomial    = binomial
	LogBinomial = logBinomial
)

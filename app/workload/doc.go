// Package workload makes requests on one link at random, in virtual time, and
// tells what became of them: two link layers and the heralding station over the
// emulated world, with nothing above them, and every frame between them encoded.
//
// Requests are drawn as in the simulations of Dahlberg et al., SIGCOMM (2019),
// arXiv:1903.09778: in each cycle of attempts, at each end, a request for k pairs
// of a type comes with the probability
//
//	f · s · p / (E · k)
//
// for k drawn uniformly from its range, where f is the type's share of the load, s
// the share that comes from this end, p the probability that an attempt succeeds
// and E the number of cycles that an attempt takes (see demand). So f = 1 asks for
// as many pairs as attempts without a break would bring, and a request is for k
// pairs with a probability in proportion to 1/k.
//
// Requests may also be streams, be cancelled after a time, or be for purposes that
// nobody listens to. Pairs of which a half is kept are shown to the oracle, or measured
// by the devices of the ends.
//
// Figures are gathered as they come, in memory that does not grow with the number
// of pairs. Runs of FewRuns seeds or more together give means with confidence
// intervals that need no assumption about the queue.
package workload

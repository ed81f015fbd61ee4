#include "plan.h"

#include "../sru.h"

#include <algorithm>

namespace srulight {
namespace {

// Waking another thread takes about as long as half of this many steps times channels, and chunks
// of fewer segments spend too much on guesses (benchmarks/time_parallel.py).
constexpr int64_t MIN_NUMBERS = 60000, MIN_SEGMENTS = 3;
// Chunks must shorten the longest share of a thread by this factor.
constexpr double WORTHWHILE = 0.8;

// A step of one vector waits for its chain of dependent instructions about as long as three vectors
// take to compute. Processors find the instructions of other vectors by themselves, but need to be
// given some.
int64_t useful_streams(const Work& work) {
  const int64_t vectors = (work.channels + work.lanes - 1) / work.lanes;
  return vectors == 1 ? 4 : vectors == 2 ? 2 : 1;
}

int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Counters counters;

Plan plan_for(const Work& work, int64_t threads) {
  Plan plan;
  const int64_t streams = useful_streams(work), segments = ceiling(work.steps, SEGMENT);
  if (work.time_parallel == FORCED) {
    plan.forced = true;
    plan.chunks = std::max<int64_t>(2, ceiling(threads * streams, work.rows));
    plan.chunks = std::max<int64_t>(1, std::min(plan.chunks, segments));
  } else if (work.time_parallel == AUTOMATIC) {
    // The share of the busiest thread, in rows.
    const auto share = [&](int64_t chunks) {
      return static_cast<double>(ceiling(work.rows * chunks, threads)) /
             static_cast<double>(chunks);
    };
    const int64_t numbers = work.rows * work.steps * work.channels;
    const int64_t most = numbers < MIN_NUMBERS ? 1 : segments / MIN_SEGMENTS;
    for (int64_t chunks = 2; chunks <= std::min(most, 2 * threads); ++chunks) {
      if (share(chunks) < WORTHWHILE * share(plan.chunks)) plan.chunks = chunks;
    }
  }
  const int64_t per_thread = work.rows * plan.chunks / std::max<int64_t>(threads, 1);
  plan.streams = std::max<int64_t>(1, std::min(streams, per_thread));
  return plan;
}

}  // namespace srulight

// Read by reports and tests: the six numbers of `Counters`.
extern "C" __attribute__((visibility("default"))) void srulight_time_counters(int64_t* to) {
  const srulight::Counters& c = srulight::counters;
  for (const auto* counter :
       {&c.passes, &c.chunks, &c.repaired, &c.numbers, &c.warmup, &c.repairs}) {
    *to++ = counter->load(std::memory_order_relaxed);
  }
}

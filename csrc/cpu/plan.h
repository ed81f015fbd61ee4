// Whether and how to divide sequences into chunks of time, and what became of the chunks.
#pragma once

#include "../cell.h"

#include <atomic>

namespace srulight {

// Chunks begin and end at multiples of this many steps. The sums of the backward pass are added up
// in these units, however the work is divided.
constexpr int64_t SEGMENT = 128;
static_assert(SEGMENT % CHECKPOINT_STEPS == 0);

// So many steps before a chunk are processed to guess the state at its start.
constexpr int64_t WARMUP = 64;

struct Plan {
  int64_t chunks = 1;   // of a sequence
  int64_t streams = 1;  // that a thread processes side by side
  bool forced = false;  // whether chunks are processed even if their guess is bad
};

// A pass over some rows of channels, one for each sequence and direction.
struct Work {
  int64_t rows, steps, channels;
  int64_t lanes;  // channels of a vector
  int64_t time_parallel;
};

Plan plan_for(const Work& work, int64_t threads);

// What this process has done in chunks so far. The last three count steps times channels.
struct Counters {
  std::atomic<int64_t> passes{0};    // rows of channels that were divided
  std::atomic<int64_t> chunks{0};    // chunks, or blocks of their channels, that had to be guessed
  std::atomic<int64_t> repaired{0};  // of these, those whose guess was wrong or not used
  std::atomic<int64_t> numbers{0};   // in the divided rows
  std::atomic<int64_t> warmup{0};    // processed before chunks, to guess
  std::atomic<int64_t> repairs{0};   // processed after the chunks, because of a wrong guess
};
extern Counters counters;

}  // namespace srulight

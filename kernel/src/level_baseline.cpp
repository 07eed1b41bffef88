#define MLRF_LEVEL baseline
#define MLRF_VECTOR_BYTES 16
#include "level.inl"

namespace mlrf {

const Level& baseline_level() { return baseline::table("baseline"); }

}  // namespace mlrf

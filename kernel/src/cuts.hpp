// Where a margin can change while one value of a row is varied: the cut points of a feature.
#pragma once

#include <cstdint>
#include <vector>

#include "forest.hpp"

namespace mlrf {

// The finite cut points of a feature, ascending and distinct: with the rest of a row fixed, the margins are the same for all
// numbers x with cuts[i - 1] < x <= cuts[i], compared in float64. The feature must be below n_features.
std::vector<double> cut_points(const Forest& f, std::uint32_t feature);

}  // namespace mlrf

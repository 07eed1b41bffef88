// Players of the explained game, and the features that their contributions are reported for.
#pragma once

#include <cstdint>
#include <vector>

#include "forest.hpp"

namespace mlrf {

// Player u, the index of an element of kShapFeatures, contributes in equal parts to the features listed for it.
struct Shares {
    std::size_t n_features = 0;         // reported
    std::vector<std::uint32_t> first;   // [players + 1]
    std::vector<std::uint32_t> listed;  // a feature may be listed twice
};

// Features as the file has them: the features of a group share equally.
Shares file_shares(const Forest& f);

// Convert contributions of inputs and groups [n_inputs][K] to those of features [n_features][K].
void share(const Forest& f, const Shares& shares, const double* of_players, double* contributions);

// Distribute what a float32 sum rounds away over a row's contributions [n_inputs][K] in proportion to their size, so that they and
// the base [K] give the margin that is served. Contributions of nothing but zeros share it evenly.
void settle_rounding(const Forest& f, const double* base, const double* margins, double* contributions);

}  // namespace mlrf

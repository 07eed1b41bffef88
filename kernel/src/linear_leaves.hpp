// Leaves that are linear functions of the row's values (LightGBM's linear_tree).
#pragma once

#include "forest.hpp"

namespace mlrf {

// Write what each tree adds for a row [F] whose columns are filled: the linear function of the leaf that it reaches.
void linear_values(const Forest& f, const void* values, bool is_float32, const unsigned char* columns, double* value_of_tree);

}  // namespace mlrf

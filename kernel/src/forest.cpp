#include "forest.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace mlrf {
namespace {

[[noreturn]] void refuse(const std::string& reason) {
    throw ForestFileError("the forest file is not sound: " + reason + "; build the bundle again");
}

void require(bool holds, const char* reason) {
    if (!holds) refuse(reason);
}

// True when [first, first + count) lies within [0, size): no sum here can overflow.
bool is_within(std::uint64_t first, std::uint64_t count, std::uint64_t size) { return first <= size && count <= size - first; }

template <typename Record>
Table<Record> section(const unsigned char* bytes, const Header& header, Section which) {
    const SectionRecord& record = header.sections[which];
    require(record.offset_bytes % kSectionAlignment == 0, "a section is not aligned");
    require(record.offset_bytes <= header.file_bytes, "a section starts beyond the end");
    require(record.count <= 0xFFFFFFFFu, "a section is too long");
    require(record.count <= (header.file_bytes - record.offset_bytes) / sizeof(Record), "a section runs beyond the end");
    return {reinterpret_cast<const Record*>(bytes + record.offset_bytes), static_cast<std::size_t>(record.count)};
}

void require_finite(const Table<double>& numbers, const char* reason) {
    for (std::size_t i = 0; i < numbers.count; ++i) require(std::isfinite(numbers[i]), reason);
}

Header check_header(const unsigned char* bytes, std::size_t size_bytes) {
    Header header;
    if (size_bytes < sizeof(Header) || std::memcmp(bytes, kMagic, sizeof kMagic) != 0)
        throw ForestFileError("the file is not a forest file, or is cut short; build the bundle again");
    std::memcpy(&header, bytes, sizeof header);
    if (header.version != kVersion)
        throw ForestFileError("the forest file is of version " + std::to_string(header.version) + ", this mlrf reads version " +
                              std::to_string(kVersion) + "; build the bundle again");
    require(header.section_count == kSectionCount, "it has another number of sections");
    require(header.file_bytes == size_bytes, "its length is not the one its header names");
    require(header.layout <= kWide, "its layout is unknown");
    require(header.sum_rounding <= kFloat32, "its rounding of sums is unknown");
    require(header.input_rounding <= kFloat32, "its rounding of inputs is unknown");
    require(header.sum_order == kTreeOrder, "its order of sums is unknown");
    require(header.n_features >= 1 && header.n_features <= kMaxFeatures, "its number of features is out of range");
    require(header.n_outputs >= 1 && header.n_outputs <= kMaxOutputs, "its number of outputs is out of range");
    require(header.n_columns >= 1, "it has no columns");
    require(std::isfinite(header.divisor) && header.divisor > 0, "its divisor is not positive");
    require(std::isfinite(header.scale) && header.scale != 0, "its scale is zero or not finite");
    require(header.sweep_lane_bytes <= 2, "its sweep lanes are of an unknown size");
    require(header.base_order <= kBaseLast, "its order of base and sum is unknown");
    require(header.code_rule <= kNotNegative, "its rule of category codes is unknown");
    require(header.n_computed <= kMaxFeatures - header.n_features, "its number of computed values is out of range");
    return header;
}

void check_numeric_features(const Forest& f) {
    std::uint64_t next_column = 1;
    std::uint64_t next_threshold = 0;
    std::int64_t last_feature = -1;
    for (std::size_t i = 0; i < f.numeric_features.count; ++i) {
        const NumericFeature& record = f.numeric_features[i];
        require(record.feature < f.n_inputs && std::int64_t{record.feature} > last_feature,
                "a numeric feature is out of order");
        require(record.first_threshold == next_threshold, "thresholds are out of order");
        require(is_within(record.first_threshold, record.n_thresholds, f.thresholds.count), "thresholds end early");
        require(record.first_column == next_column, "numeric columns are out of order");
        next_column += record.n_columns;
        next_threshold += record.n_thresholds;
        require(next_column <= f.first_category_column, "numeric columns end early");
        require(f.is_wide || record.n_thresholds < 0xFFFF, "a feature has too many thresholds for 16 bits");
        require(f.sweep_lane_bytes != 1 || record.n_thresholds < 0xFF, "a feature has too many thresholds for 8 bits");
        for (std::uint32_t t = 1; t < record.n_thresholds; ++t)
            require(f.thresholds[record.first_threshold + t - 1] < f.thresholds[record.first_threshold + t],
                    "thresholds are not ascending");
        last_feature = record.feature;
    }
    require(next_column == f.first_category_column, "a numeric column has no feature");
    require(next_threshold == f.thresholds.count, "a threshold has no feature");
    // LightGBM writes an infinite threshold where only NaN goes right; it orders like any other number.
    for (std::size_t i = 0; i < f.thresholds.count; ++i) require(!std::isnan(f.thresholds[i]), "a threshold is not a number");
    for (std::size_t i = 0; i < f.column_rules.count; ++i)
        require(f.column_rules[i] < kColumnRuleCount, "a missing rule is unknown");
}

void check_category_features(const Forest& f) {
    require(f.code_members.count == f.category_codes.count + 1, "codes and their sets do not match");
    std::uint64_t next_column = f.first_category_column;
    std::uint64_t next_code = 0;
    std::int64_t last_feature = -1;
    require(f.set_offsets.count == f.category_defaults.count + 1, "category sets and columns do not match");
    require(f.set_bits.count == kSetBytes * f.category_defaults.count, "category bits and columns do not match");
    require(f.code_members[0] == 0 && f.code_members[f.category_codes.count] == f.members.count, "category sets end early");
    for (std::size_t i = 0; i < f.category_features.count; ++i) {
        const CategoryFeature& record = f.category_features[i];
        require(record.feature < f.n_inputs && std::int64_t{record.feature} > last_feature,
                "a category feature is out of order");
        require(record.first_column == next_column, "category columns are out of order");
        require(record.first_code == next_code, "category codes are out of order");
        require(is_within(record.first_code, record.n_codes, f.category_codes.count), "category codes end early");
        next_column += record.n_columns;
        next_code += record.n_codes;
        require(next_column <= f.n_columns, "category columns end early");
        for (std::uint32_t c = record.first_code; c < record.first_code + record.n_codes; ++c) {
            require(f.category_codes[c] >= 0, "a category code is negative");
            require(c == record.first_code || f.category_codes[c - 1] < f.category_codes[c],
                    "category codes are not ascending");
            require(f.code_members[c] <= f.code_members[c + 1], "a category set has a negative size");
            require(f.code_members[c + 1] <= f.members.count, "category sets end early");
            for (std::uint32_t m = f.code_members[c]; m < f.code_members[c + 1]; ++m)
                require(f.members[m] >= record.first_column && f.members[m] < next_column,
                        "a code is in no set of its feature");
        }
        const std::uint64_t words = (std::uint64_t{record.n_codes} + 2) * ((std::uint64_t{record.n_columns} + 15) / 16);
        require(record.n_codes > kDenseCodes || is_within(record.first_word, words, f.code_bits.count),
                "category bits end early");
        for (std::uint64_t c = record.first_column; c < next_column; ++c) {
            const std::size_t place = c - f.first_category_column;
            require(f.set_offsets[place] <= f.set_offsets[place + 1], "a category set has a negative size");
            require(f.set_offsets[place + 1] <= f.set_codes.count, "category sets end early");
            for (std::uint32_t s = f.set_offsets[place]; s < f.set_offsets[place + 1]; ++s)
                require(f.set_codes[s] >= record.first_code && f.set_codes[s] < next_code,
                        "a set holds a code of another feature");
        }
        last_feature = record.feature;
    }
    require(next_column == f.n_columns, "a category column has no feature");
    require(next_code == f.category_codes.count, "a category code has no feature");
    for (std::size_t i = 0; i < f.category_defaults.count; ++i)
        require(f.category_defaults[i] <= 1, "the side of a missing category is unknown");
}

// Returns the depth of each tree. Children stand after their parents, so one forward pass ends and sees every depth.
template <typename Node>
std::vector<std::uint32_t> check_walk_nodes(const Forest& f) {
    std::vector<std::uint32_t> depths(f.n_trees, 0);
    std::vector<std::uint32_t> node_depths;
    const Node* nodes = static_cast<const Node*>(f.walk_nodes);
    std::uint64_t next_root = 0;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        require(tree.root == next_root, "trees are out of order");
        const std::uint64_t size = 2 * std::uint64_t{tree.n_leaves} - 1;
        require(is_within(tree.root, size, f.n_walk_nodes), "a tree ends early");
        const std::uint64_t end = tree.root + size;
        std::uint64_t seen_leaves = 0;
        node_depths.assign(size, 0);
        for (std::uint64_t n = tree.root; n < end; ++n) {
            const Node& node = nodes[n];
            require(node.column < f.n_columns, "a node tests no column");
            if (node.child == n) {
                require(node.column == 0, "a leaf tests a column");
                require(node.rank < tree.n_leaves, "a leaf has no value");
                ++seen_leaves;
                depths[t] = std::max(depths[t], node_depths[n - tree.root]);
            } else {
                require(node.child > n && std::uint64_t{node.child} + 1 < end, "a child stands outside its tree");
                for (const std::uint64_t child : {std::uint64_t{node.child}, std::uint64_t{node.child} + 1})
                    node_depths[child - tree.root] = std::max(node_depths[child - tree.root], node_depths[n - tree.root] + 1);
            }
        }
        require(seen_leaves == tree.n_leaves, "a tree has another number of leaves");
        next_root = end;
    }
    require(next_root == f.n_walk_nodes, "a node has no tree");
    return depths;
}

void check_trees(Forest& f) {
    std::uint64_t next_value = 0;
    std::uint64_t next_sweep = 0;
    f.max_leaves = 1;
    for (std::size_t t = 0; t < f.n_trees; ++t) {
        const TreeRecord& tree = f.trees[t];
        require(tree.output < f.n_outputs, "a tree has no output");
        require(tree.n_leaves >= 1, "a tree has no leaf");
        require(tree.first_value == next_value, "leaf values are out of order");
        require(is_within(tree.first_value, tree.n_leaves, f.leaf_values.count), "leaf values end early");
        next_value += tree.n_leaves;
        if (tree.n_leaves > f.max_leaves) f.max_leaves = tree.n_leaves;
        if (f.sweep_lane_bytes == 0) continue;
        require(tree.first_sweep == next_sweep, "sweep nodes are out of order");
        require(is_within(tree.first_sweep, tree.n_leaves - 1, f.sweep_nodes.count), "sweep nodes end early");
        next_sweep += tree.n_leaves - 1;
        for (std::uint32_t i = 0; i + 1 < tree.n_leaves; ++i) {
            const SweepNode& node = f.sweep_nodes[tree.first_sweep + i];
            require(node.column < f.n_columns, "a sweep node tests no column");
            for (const std::int32_t side : {std::int32_t{node.left}, std::int32_t{node.right}})
                require(side < static_cast<std::int32_t>(i) && -1 - side < static_cast<std::int32_t>(tree.n_leaves),
                        "a sweep node has no child");
        }
    }
    require(next_value == f.leaf_values.count, "a leaf value has no tree");
    require(next_sweep == f.sweep_nodes.count, "a sweep node has no tree");
    require(f.sweep_lane_bytes == 0 || !f.is_wide, "a wide forest cannot be swept");
    require(f.sweep_lane_bytes != 1 || f.max_leaves <= 256, "a tree has too many leaves for sweep lanes of 8 bits");
    require(f.sweep_lane_bytes != 2 || f.max_leaves <= 32768, "a tree has too many leaves for sweep lanes of 16 bits");
    require_finite(f.leaf_values, "a leaf value is not finite");
}

void check_walk_order(const Forest& f, const std::vector<std::uint32_t>& depths) {
    std::vector<bool> seen(f.n_trees, false);
    std::uint32_t last_depth = 0;
    for (std::size_t i = 0; i < f.walk_trees.count; ++i) {
        const WalkTree& tree = f.walk_trees[i];
        require(tree.tree < f.n_trees && !seen[tree.tree], "the order of the walk does not name every tree");
        require(tree.depth >= last_depth && tree.depth == depths[tree.tree], "the depths of the trees are out of order");
        seen[tree.tree] = true;
        last_depth = tree.depth;
    }
}

void check_shap(Forest& f) {
    for (std::size_t i = 0; i < f.shap_features.count; ++i)
        require(f.shap_features[i] < f.n_inputs && (i == 0 || f.shap_features[i - 1] < f.shap_features[i]),
                "the features of the explanation are out of order");
    const std::uint64_t n_sums = std::uint64_t{f.n_outputs} * f.shap_features.count;
    std::uint64_t next_node = 0, next_leaf = 0, next_run = 0;
    f.max_shap_slots = 0;
    f.max_shap_nodes = 0;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        require(chunk.first_node == next_node && is_within(next_node, chunk.n_nodes, f.shap_nodes.count),
                "explained nodes end early");
        require(chunk.first_leaf == next_leaf && is_within(next_leaf, chunk.n_leaves, f.shap_leaves.count),
                "explained leaves end early");
        require(chunk.first_run == next_run && is_within(next_run, chunk.n_runs, f.shap_runs.count),
                "explained runs end early");
        require(chunk.n_roots <= chunk.n_nodes, "an explained chunk has more roots than nodes");
        require(chunk.n_quadrature >= 1 && chunk.n_quadrature <= kMaxQuadrature, "an explained chunk asks for too many lanes");
        const std::uint64_t n_slots = std::uint64_t{chunk.n_nodes} + chunk.n_leaves;
        require(n_slots <= 0x7FFFFFFFu, "an explained chunk is too large");
        std::uint32_t start = 0;
        for (std::uint32_t r = 0; r < chunk.n_runs; ++r) {
            const ShapRun& run = f.shap_runs[next_run + r];
            require(run.end >= start && run.end <= chunk.n_nodes && run.seen <= 1, "an explained run is out of order");
            for (std::uint32_t i = start; i < run.end; ++i) {
                const ShapNode& node = f.shap_nodes[next_node + i];
                require(node.share >= 0 && node.share <= 1, "a share of cover is not between 0 and 1");
                require(node.earlier_share >= 0 && node.earlier_share <= 1, "a share of cover is not between 0 and 1");
                require(node.left > i && node.left < n_slots && node.right > i && node.right < n_slots,
                        "an explained node has no child");
                require(node.column < f.n_columns, "an explained node tests no column");
                require(node.sum < n_sums, "an explained node has no feature");
                require((node.earlier == kNoEarlier) == (run.seen == 0), "an explained node is in the wrong run");
                require(run.seen == 0 || node.earlier / 2 < i, "an explained node has no earlier split");
            }
            start = run.end;
        }
        require(start == chunk.n_nodes, "an explained node is in no run");
        next_node += chunk.n_nodes;
        next_leaf += chunk.n_leaves;
        next_run += chunk.n_runs;
        if (n_slots > f.max_shap_slots) f.max_shap_slots = static_cast<std::uint32_t>(n_slots);
        if (chunk.n_nodes > f.max_shap_nodes) f.max_shap_nodes = chunk.n_nodes;
    }
    require(next_node == f.shap_nodes.count && next_leaf == f.shap_leaves.count && next_run == f.shap_runs.count,
            "an explained node has no chunk");
    require_finite(f.shap_leaves, "an explained leaf is not finite");
}

void check_hashed_features(const Forest& f) {
    std::uint64_t next_code = 0;
    std::int64_t last_feature = -1;
    for (std::size_t i = 0; i < f.hashed_features.count; ++i) {
        const HashedFeature& record = f.hashed_features[i];
        require(record.feature < f.n_features && std::int64_t{record.feature} > last_feature, "a hashed feature is out of order");
        require(record.first_code == next_code && is_within(next_code, record.n_codes, f.code_hashes.count),
                "hashes of codes end early");
        next_code += record.n_codes;
        last_feature = record.feature;
    }
    require(next_code == f.code_hashes.count, "a hash has no feature");
}

void check_tables(const Forest& f) {
    for (std::size_t i = 0; i < f.key_parts.count; ++i) {
        const KeyPart& part = f.key_parts[i];
        require(part.kind < kKeyPartKindCount && part.nan_is_above <= 1, "a part of a key is unknown");
        require(part.source < (part.kind == kAbove ? std::size_t{f.n_features} : f.hashed_features.count),
                "a part of a key has no feature");
    }
    std::uint64_t next_part = 0, next_slot = 0, next_value = 0, next_column = 0;
    for (std::size_t t = 0; t < f.tables.count; ++t) {
        const TableRecord& table = f.tables[t];
        require(table.first_part == next_part && is_within(next_part, table.n_parts, f.key_parts.count),
                "parts of keys end early");
        require(table.slot_bits >= 1 && table.slot_bits <= kMaxSlotBits, "a table's size is out of range");
        const std::uint64_t n_slots = std::uint64_t{1} << table.slot_bits;
        require(table.first_slot == next_slot && is_within(next_slot, n_slots, f.table_slots.count), "a table ends early");
        // Both factors fit 32 bits, so that their product cannot overflow.
        const std::uint64_t n_values = (std::uint64_t{table.n_entries} + 1) * table.n_columns;
        require(table.first_value == next_value && is_within(next_value, n_values, f.table_values.count),
                "a table's values end early");
        require(table.first_column == next_column, "a table's columns are out of order");
        bool has_end = false;
        for (std::uint64_t s = next_slot; s < next_slot + n_slots; ++s) {
            has_end |= f.table_slots[s].is_used == 0;
            require(f.table_slots[s].is_used == 0 || f.table_slots[s].entry < table.n_entries, "a key has no values");
        }
        require(has_end, "a table is full");
        next_part += table.n_parts;
        next_slot += n_slots;
        next_value += n_values;
        next_column += table.n_columns;
        require(next_column <= f.n_inputs - f.n_features, "a table has more columns than the header says");
    }
    require(next_part == f.key_parts.count && next_slot == f.table_slots.count && next_value == f.table_values.count,
            "a part of a table has no table");
    require(next_column == f.n_inputs - f.n_features, "a computed column has no table");
}

void check_feature_groups(const Forest& f) {
    require(f.feature_groups.count <= f.n_inputs - f.n_features, "there are more groups of features than computed columns");
    std::uint64_t next = 0;
    for (std::size_t g = 0; g < f.feature_groups.count; ++g) {
        const FeatureGroup& group = f.feature_groups[g];
        require(group.first == next && group.count >= 1 && is_within(next, group.count, f.group_features.count),
                "groups of features are out of order");
        next += group.count;
    }
    require(next == f.group_features.count, "a feature has no group");
    for (std::size_t i = 0; i < f.group_features.count; ++i)
        require(f.group_features[i] < f.n_features, "a group holds no feature");
    for (std::size_t i = 0; i < f.shap_features.count; ++i)
        require(f.shap_features[i] < f.n_features + f.feature_groups.count, "a contribution has no feature");
}

}  // namespace

Forest check_forest(const unsigned char* bytes, std::size_t size_bytes) {
    const Header header = check_header(bytes, size_bytes);
    Forest f{};
    f.n_features = header.n_features;
    f.n_inputs = header.n_features + header.n_computed;
    f.n_outputs = header.n_outputs;
    f.n_trees = header.n_trees;
    f.n_columns = header.n_columns;
    f.is_wide = header.layout == kWide;
    f.sums_in_float32 = header.sum_rounding == kFloat32;
    f.inputs_in_float32 = header.input_rounding == kFloat32;
    f.adds_base_last = header.base_order == kBaseLast;
    f.sweep_lane_bytes = header.sweep_lane_bytes;
    f.divisor = header.divisor;
    f.scale = header.scale;
    f.no_code_up_to = header.code_rule == kTruncated ? kNoCodeTruncated : kNoCodeNegative;

    f.base = section<double>(bytes, header, kBase);
    f.expected = section<double>(bytes, header, kExpected);
    f.numeric_features = section<NumericFeature>(bytes, header, kNumericFeatures);
    f.thresholds = section<double>(bytes, header, kThresholds);
    f.column_rules = section<std::uint8_t>(bytes, header, kColumnRules);
    f.category_features = section<CategoryFeature>(bytes, header, kCategoryFeatures);
    f.category_codes = section<std::int32_t>(bytes, header, kCategoryCodes);
    f.code_members = section<std::uint32_t>(bytes, header, kCodeMembers);
    f.members = section<std::uint32_t>(bytes, header, kMembers);
    f.set_offsets = section<std::uint32_t>(bytes, header, kSetOffsets);
    f.set_codes = section<std::uint32_t>(bytes, header, kSetCodes);
    f.code_bits = section<std::uint16_t>(bytes, header, kCodeBits);
    f.set_bits = section<std::uint8_t>(bytes, header, kSetBits);
    f.category_defaults = section<std::uint8_t>(bytes, header, kCategoryDefaults);
    f.trees = section<TreeRecord>(bytes, header, kTrees);
    f.walk_trees = section<WalkTree>(bytes, header, kWalkTrees);
    f.leaf_values = section<double>(bytes, header, kLeafValues);
    f.sweep_nodes = section<SweepNode>(bytes, header, kSweepNodes);
    f.shap_features = section<std::uint32_t>(bytes, header, kShapFeatures);
    f.shap_chunks = section<ShapChunk>(bytes, header, kShapChunks);
    f.shap_runs = section<ShapRun>(bytes, header, kShapRuns);
    f.shap_nodes = section<ShapNode>(bytes, header, kShapNodes);
    f.shap_leaves = section<double>(bytes, header, kShapLeaves);
    f.hashed_features = section<HashedFeature>(bytes, header, kHashedFeatures);
    f.code_hashes = section<std::uint32_t>(bytes, header, kCodeHashes);
    f.key_parts = section<KeyPart>(bytes, header, kKeyParts);
    f.tables = section<TableRecord>(bytes, header, kTables);
    f.table_slots = section<TableSlot>(bytes, header, kTableSlots);
    f.table_values = section<float>(bytes, header, kTableValues);
    f.feature_groups = section<FeatureGroup>(bytes, header, kFeatureGroups);
    f.group_features = section<std::uint32_t>(bytes, header, kGroupFeatures);

    require(f.base.count == f.n_outputs && f.expected.count == f.n_outputs, "base and outputs do not match");
    require_finite(f.base, "the base is not finite");
    require_finite(f.expected, "the expected margin is not finite");
    require(f.trees.count == f.n_trees && f.walk_trees.count == f.n_trees, "trees and their records do not match");
    require(1 + std::uint64_t{f.column_rules.count} + f.category_defaults.count == f.n_columns, "columns do not add up");
    require(f.is_wide || f.n_columns <= 0x10000, "it has too many columns for 16 bits");
    f.first_category_column = static_cast<std::uint32_t>(1 + f.column_rules.count);
    require(f.code_members.count >= 1, "codes and their sets do not match");
    check_numeric_features(f);
    check_category_features(f);
    check_trees(f);
    if (f.is_wide) {
        const auto nodes = section<WideNode>(bytes, header, kWalkNodes);
        f.walk_nodes = nodes.data;
        f.n_walk_nodes = nodes.count;
        check_walk_order(f, check_walk_nodes<WideNode>(f));
    } else {
        const auto nodes = section<NarrowNode>(bytes, header, kWalkNodes);
        f.walk_nodes = nodes.data;
        f.n_walk_nodes = nodes.count;
        check_walk_order(f, check_walk_nodes<NarrowNode>(f));
    }
    check_shap(f);
    check_hashed_features(f);
    check_tables(f);
    check_feature_groups(f);
    return f;
}

}  // namespace mlrf

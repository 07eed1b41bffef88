#include "direct_cells.hpp"

#include "table_keys.hpp"

namespace mlrf {
namespace {

// Hashes are found after a few steps; the limit keeps the opening of a crafted file in linear time.
constexpr std::size_t kMostStepsPerCell = 16, kFreeSteps = 4096;

std::size_t n_values(const Forest& f, const KeyPart& part) {
    return part.kind == kCategory ? std::size_t{f.hashed_features[part.source].n_codes} + 1 : 2;
}

// The hash of each cell's key, and whether it has one, part by part: combinations of the parts so far times the values of the next.
void append_part(const Forest& f, const KeyPart& part, std::vector<std::uint64_t>& keys, std::vector<bool>& has_key) {
    const std::size_t n_keys = keys.size(), n = n_values(f, part);
    std::vector<std::uint64_t> terms(n);
    for (std::size_t i = 0; i < n; ++i)
        terms[i] = part.kind != kCategory ? i
                   : i + 1 < n            ? category_part(f.code_hashes[f.hashed_features[part.source].first_code + i])
                                          : 0;
    std::vector<std::uint64_t> next(n_keys * n);
    std::vector<bool> next_has(n_keys * n);
    for (std::size_t k = 0; k < n_keys; ++k)
        for (std::size_t i = 0; i < n; ++i) {
            next[k * n + i] = kMultiplier * (keys[k] + kMultiplier * terms[i]);
            next_has[k * n + i] = has_key[k] && (part.kind != kCategory || i + 1 < n);
        }
    keys.swap(next);
    has_key.swap(next_has);
}

}  // namespace

DirectCells direct_cells(const Forest& f, const TableRecord& table, std::size_t most_cells) {
    DirectCells cells;
    const KeyPart* parts = f.key_parts.data + table.first_part;
    std::size_t n_cells = 1;
    for (std::size_t p = 0; p < table.n_parts; ++p) {
        // Where no code is listed, all rows are searched for; and a key of many parts has too many cells.
        if (n_values(f, parts[p]) < 2) return cells;
        n_cells *= n_values(f, parts[p]);
        if (n_cells > most_cells) return cells;
    }
    std::vector<std::uint64_t> keys{0};
    std::vector<bool> has_key{true};
    for (std::size_t p = 0; p < table.n_parts; ++p) append_part(f, parts[p], keys, has_key);
    const TableSlot* slots = f.table_slots.data + table.first_slot;
    const std::uint64_t mask = (std::uint64_t{1} << table.slot_bits) - 1;
    std::size_t n_steps = 0;
    std::vector<std::uint32_t> entries(n_cells, table.n_entries);
    for (std::size_t cell = 0; cell < n_cells; ++cell) {
        if (!has_key[cell]) continue;
        std::uint64_t at = key_slot(keys[cell], table.slot_bits);
        for (; slots[at].is_used != 0 && slots[at].key != keys[cell]; at = (at + 1) & mask)
            if (++n_steps > kMostStepsPerCell * n_cells + kFreeSteps) return cells;
        if (slots[at].is_used != 0) entries[cell] = slots[at].entry;
    }
    cells.entries.swap(entries);
    cells.strides.resize(table.n_parts);
    std::size_t stride = 1;
    for (std::size_t p = table.n_parts; p-- > 0; stride *= n_values(f, parts[p])) cells.strides[p] = static_cast<std::uint32_t>(stride);
    return cells;
}

}  // namespace mlrf

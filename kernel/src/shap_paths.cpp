#include "shap_paths.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "forest_checks.hpp"

namespace mlrf {

std::vector<std::uint32_t> parents_of(const Forest& f, const ShapChunk& chunk) {
    std::vector<std::uint32_t> parents(std::size_t{chunk.n_nodes} + chunk.n_leaves, kNoEarlier);
    for (std::uint32_t i = 0; i < chunk.n_nodes; ++i) {
        const ShapNode& node = f.shap_nodes[chunk.first_node + i];
        for (const std::uint32_t side : {0u, 1u}) {
            std::uint32_t& parent = parents[side == 0 ? node.left : node.right];
            require(parent == kNoEarlier, "an explained node has two parents");
            parent = 2 * i + side;
        }
    }
    for (std::size_t slot = 0; slot < parents.size(); ++slot)
        require((parents[slot] == kNoEarlier) == (slot < chunk.n_roots), "an explained node has no parent");
    return parents;
}

PairLists::PairLists(const Forest& f, std::size_t most_bytes) {
    const std::uint64_t n_players = f.shap_features.count;
    std::unordered_map<std::uint64_t, std::uint32_t> known;
    first_edge_.reserve(f.shap_nodes.count + 1);
    // Of the chunk's nodes: the nearest split above of each feature, by sum.
    struct Above {
        std::uint32_t sum, edge;
    };
    std::vector<std::vector<Above>> above;
    for (std::size_t c = 0; c < f.shap_chunks.count; ++c) {
        const ShapChunk& chunk = f.shap_chunks[c];
        const ShapNode* nodes = f.shap_nodes.data + chunk.first_node;
        const std::vector<std::uint32_t> parents = parents_of(f, chunk);
        above.assign(chunk.n_nodes, {});
        std::size_t n_above = 0;
        for (std::uint32_t i = 0; i < chunk.n_nodes; ++i) {
            first_edge_.push_back(static_cast<std::uint32_t>(edges_.size()));
            if (parents[i] == kNoEarlier) continue;
            const ShapNode& parent = nodes[parents[i] / 2];
            std::vector<Above>& list = above[i];
            list = above[parents[i] / 2];
            const auto own = std::find_if(list.begin(), list.end(), [&](const Above& a) { return a.sum == parent.sum; });
            if (own == list.end())
                list.push_back({parent.sum, parents[i]});
            else
                own->edge = parents[i];
            n_above += list.size();
            if ((edges_.size() + n_above) * sizeof(PairedEdge) > most_bytes)
                throw TooLargeError("interaction values of this model take more than " + std::to_string(most_bytes >> 20) +
                                    " MB: its trees are too many and too deep");
            const std::uint32_t sum = nodes[i].sum;
            for (const Above& a : list) {
                if (a.sum == sum) continue;
                const std::uint32_t first = static_cast<std::uint32_t>(std::min(a.sum, sum) % n_players);
                const std::uint32_t second = static_cast<std::uint32_t>(std::max(a.sum, sum) % n_players);
                const std::uint64_t key = std::uint64_t{std::min(a.sum, sum)} << 32 | std::max(a.sum, sum);
                const auto found = known.emplace(key, static_cast<std::uint32_t>(pairs_.size()));
                if (found.second) pairs_.push_back({static_cast<std::uint32_t>(sum / n_players), first, second});
                edges_.push_back({a.edge, found.first->second});
            }
        }
    }
    first_edge_.push_back(static_cast<std::uint32_t>(edges_.size()));
}

}  // namespace mlrf

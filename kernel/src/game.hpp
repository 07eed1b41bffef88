// Games with an algorithm of their own, by name: what each is made from, and what it answers.
//
// A game is a file of games/, which CMake lists by itself: a class that implements Game, and a RegisteredGame that makes it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engine.hpp"
#include "forest.hpp"
#include "shares.hpp"

namespace mlrf {

class Game {
public:
    virtual ~Game() = default;

    virtual std::size_t n_features() const = 0;
    // [K] what the contributions of every row are added to.
    virtual const std::vector<double>& base() const = 0;
    // Of its tables.
    virtual std::size_t size_bytes() const = 0;

    // Contributions [n][n_features][K] of n rows, on at most `threads` threads. The answer does not depend on `threads`.
    virtual void contributions_many(const Rows& rows, unsigned threads, double* contributions) const = 0;
};

struct GameInputs {
    const Engine& engine;
    const Forest& trees;  // the engine's forest, with its explained trees or with those of groups as players
    Shares shares;        // of these players
    const Rows& rows;     // that the caller gives
    std::size_t most_bytes;
};

// May throw std::invalid_argument, TooLargeError and ForestFileError.
using MakeGame = std::unique_ptr<const Game> (*)(GameInputs inputs);

// Makes a game known by its name; an object at namespace scope in the game's file.
class RegisteredGame {
public:
    RegisteredGame(const char* name, MakeGame make);
};

// std::invalid_argument for an unknown name.
std::unique_ptr<const Game> make_game(const std::string& name, GameInputs inputs);

}  // namespace mlrf

// Generated from postgres/migrations at build time.
#pragma once

#include <vector>

#include "controlplane/store/engine.h"

namespace postern::store {
const std::vector<Migration>& PostgresMigrations();
}  // namespace postern::store

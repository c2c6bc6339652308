// Debian 12's Abseil has no status macros; these are the two that we use.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The names come from __COUNTER__: a lambda within `expr` may use the macros, too.
#define POSTERN_RETURN_IF_ERROR(expr) \
  POSTERN_RETURN_IF_ERROR_IMPL_(POSTERN_MACROS_CONCAT_(postern_status_, __COUNTER__), expr)
#define POSTERN_RETURN_IF_ERROR_IMPL_(var, expr)          \
  do {                                                    \
    if (absl::Status var = (expr); !var.ok()) return var; \
  } while (false)

#define POSTERN_MACROS_CONCAT_INNER_(a, b) a##b
#define POSTERN_MACROS_CONCAT_(a, b) POSTERN_MACROS_CONCAT_INNER_(a, b)

// POSTERN_ASSIGN_OR_RETURN(Grant grant, store.Get(id));
#define POSTERN_ASSIGN_OR_RETURN(lhs, expr) \
  POSTERN_ASSIGN_OR_RETURN_IMPL_(POSTERN_MACROS_CONCAT_(postern_statusor_, __COUNTER__), lhs, expr)
#define POSTERN_ASSIGN_OR_RETURN_IMPL_(var, lhs, expr) \
  auto var = (expr);                                   \
  if (!var.ok()) return std::move(var).status();       \
  lhs = *std::move(var)

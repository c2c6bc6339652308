// A catalog as text, for tests. One line per object; '#' begins a comment:
//
//   table 1001 app.customers (id, name, email, email_norm generated)
//   partitioned 1010 app.events (id, kind)         | foreign, sequence, matview and view likewise
//   child 1011 app.events_2026 (id, kind) of app.events
//   view 1020 app.active (id, email) as SELECT …
//   function 2001 app.f volatile sql as SELECT …   | plpgsql functions have no body
//   operators app                                  | the schema holds operators of users
//   triggers app.customers                         | the relation has triggers (or: rules)
//
// Attribute numbers count from 1. Schemas come to be as they are named; `schema app` makes an empty one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/sql/catalog.h"

namespace postern::sql {

// Throws std::runtime_error on a line that it does not understand: tests only.
std::shared_ptr<const Catalog> CatalogFromText(std::string_view text);

// "schema.relation.column" of a column that the catalog knows.
std::string ColumnName(const Catalog& catalog, const ColumnId& column);

}  // namespace postern::sql

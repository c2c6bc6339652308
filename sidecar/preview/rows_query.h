// From an UPDATE or DELETE to the SELECT of the rows that it would meet. Text in, text out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::preview {

// The rows of one relation: "app.orders o" and "o.id = $1".
struct RowsMet {
  std::string relation;   // as it is named, with its alias
  std::string condition;  // empty: every row

  std::string Count() const;
  std::string Sample(int64_t limit) const;
};

// nullopt for anything that is not plainly one UPDATE or DELETE of one relation: WITH, USING, FROM, WHERE CURRENT OF,
// and texts outside of the lexical subset of common/sql/literals.h. `statement` has parsed.
std::optional<RowsMet> RowsMetBy(std::string_view statement);

}  // namespace postern::preview

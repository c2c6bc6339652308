// Placeholders: the change of a text that keeps masked columns out of it.
//
// Each entry of FROM over a relation whose named columns are to be kept back becomes a subselect of the same columns,
// in which those are NULL of their type, and so are the columns that the statement does not name. The server is never
// asked for their values; everything around reads on as it was written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"

namespace postern::sql {

// Bytes [begin, end) of a text give way to `text`.
struct TextEdit {
  size_t begin = 0;
  size_t end = 0;
  std::string text;
};

// Edits of `text`, in order, after which its statements read none of `columns` (sorted), nor what depends on them.
// `statements`: places in the analysis of those to be changed. Whatever comes out must be analysed in its turn: it is
// no proof.
//   FAILED_PRECONDITION/NO_PLACEHOLDER: it cannot be done; the message says why, to follow "… because".
absl::StatusOr<std::vector<TextEdit>> PlaceholderEdits(std::string_view text, const Catalog& catalog,
                                                       const SessionView& session, const AnalysisOptions& options,
                                                       const std::vector<size_t>& statements,
                                                       const std::vector<ColumnId>& columns);

std::string ApplyEdits(std::string_view text, const std::vector<TextEdit>& edits);

// What stands in `text` where `position` is in the edited text: characters from 1, as error fields have them. Within
// what was put in, the place of what it stands for.
int PositionBefore(std::string_view text, const std::vector<TextEdit>& edits, int position);

// OK if a changed text does nothing else than the text before: the same kinds of statements with outputs of the same
// names, with the same effects on the same objects, on no more columns.
//   FAILED_PRECONDITION/NO_PLACEHOLDER as above.
absl::Status CheckSameMeaning(const Analysis& before, const Analysis& after);

}  // namespace postern::sql

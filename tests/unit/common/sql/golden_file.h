// Golden files of statements and what analysis says of them: the format is described in golden_test.cc.
#pragma once

#include <string>
#include <vector>

#include "common/sql/analysis.h"

namespace postern::sql {

struct GoldenCase {
  int line = 0;
  std::string title;
  std::string sql;
  std::string expected;
};

struct GoldenFile {
  std::string name;
  std::string header;
  // Name of its catalog file.
  std::string catalog;
  SessionView session;
  AnalysisOptions options;
  std::vector<GoldenCase> cases;
};

// Names of the golden files, sorted.
std::vector<std::string> GoldenFileNames();
GoldenFile ReadGoldenFile(const std::string& name);
// The text of a file in the folder of the golden files.
std::string ReadGoldenText(const std::string& name);
std::string GoldenPath(const std::string& name);

}  // namespace postern::sql

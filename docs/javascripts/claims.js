// The filters of the page of claims: by paper and by verdict.
document.addEventListener("change", () => {
  const wanted = [...document.querySelectorAll("select[data-filter]")].filter((box) => box.value);
  for (const claim of document.querySelectorAll(".claim")) {
    claim.hidden = !wanted.every((box) =>
      box.dataset.filter === "paper"
        ? claim.dataset.paper.split(" ").includes(box.value)
        : claim.dataset.verdict === box.value);
  }
});

// Reaches production by fetch, over the versions of IP that are asked for.
const reach = async (version) => {
  console.log(`== node ${version}`);
  try {
    const response = await fetch(`https://www${version}.prod.example/where`);
    process.stdout.write(await response.text());
    console.log("-- 0");
  } catch (error) {
    console.log(`${error.message}: ${error.cause?.message}`);
    console.log("-- 1");
  }
};
(async () => {
  for (const version of process.argv[2]) await reach(version);
})();

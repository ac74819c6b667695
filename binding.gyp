# Only for people who run node-gyp by hand: the addon is built by cmake-js. npm never reads this file, because package.json
# has its own install script and "gypfile": false; the published package leaves it out.
{
  "targets": [
    {
      "target_name": "winnow",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake_js",
          "inputs": ["native/CMakeLists.txt"],
          "outputs": ["build/addon/Release/winnow.node"],
          "action": ["node", "native/setup/addon.mjs"]
        }
      ]
    }
  ]
}

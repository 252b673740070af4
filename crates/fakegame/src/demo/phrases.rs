//! Who plays on the demo server and what they say. Nothing but texts; `{other}` stands for another player.

pub(super) const PLAYERS: [&str; 14] = [
    "Kestrel",
    "mossy_pete",
    "Quillfish",
    "tinker_bo",
    "NovaBean",
    "Gullwing",
    "captain_oats",
    "driftwood77",
    "PixelMoth",
    "Brinewind",
    "Hobnail",
    "salt_and_sable",
    "Ferrule",
    "Umbercat",
];

pub(super) const CHAT: [&str; 20] = [
    "anyone at the harbour?",
    "who took my lantern",
    "the bridge is finished, come and look",
    "{other} want to trade rope for copper?",
    "it is getting dark again",
    "lag? or is it just me",
    "brb, soup",
    "my boat sank. again.",
    "{other} your goat is on my roof",
    "found a cave full of blue stone at the north cliff",
    "does anyone have spare planks",
    "ok who built a door under water",
    "gg",
    "I can see the storm from here",
    "{other} thanks for the map!",
    "the lighthouse needs oil",
    "how do I get down from here",
    "three hours and still no compass",
    "welcome aboard",
    "never trust a parrot with keys",
];

pub(super) const INSULTS: [&str; 10] = [
    "{other} you sail like a wardrobe",
    "{other} I have seen barnacles with more ambition",
    "{other} your hut has the charm of a wet sock",
    "{other} you would lose a race against a moored boat",
    "{other} even the seagulls avoid your cooking",
    "{other} you dig like a spoon",
    "{other} nice hat, did the sheep survive?",
    "{other} you could get lost in a bucket",
    "{other} your fence keeps out nothing but good taste",
    "{other} I have met smarter driftwood",
];

pub(super) const RETORTS: [&str; 8] = [
    "{other} says the one who fell into his own well",
    "{other} at least my boat floats",
    "{other} that hurt. a little. no it did not",
    "{other} I will tell the goat",
    "{other} rude. accurate, but rude",
    "{other} look behind you",
    "{other} go polish your anchor",
    "{other} lol",
];

pub(super) const GREETINGS: [&str; 8] = [
    "hi!",
    "hello from the harbour",
    "ahoy, admin",
    "oh no, what did we do",
    "o/",
    "a voice from the sky!",
    "can we get more soup",
    "aye aye",
];

pub(super) const WHISPERS: [&str; 5] =
    ["who, me?", "understood", "on my way", "I was never here", "{other} can keep a secret, I cannot"];

pub(super) const THANKS: [&str; 4] = ["thank you!!", "just what I needed", "is it my birthday?", "shiny"];

pub(super) const CONDOLENCES: [&str; 5] = ["F", "again, {other}?", "dibs on the boots", "that was beautiful", "rip"];

pub(super) const PLACES: [&str; 10] = [
    "the old lighthouse",
    "the harbour",
    "the blue cave",
    "the rope bridge",
    "the goat meadow",
    "the sunken mill",
    "the north cliff",
    "the market",
    "a suspiciously quiet bay",
    "the top of the mast",
];

pub(super) const DEATHS: [&str; 10] = [
    "was flattened by a falling anchor",
    "forgot which way is down",
    "tried to swim in a full suit of armour",
    "was outsmarted by a goat",
    "hugged a cactus",
    "walked into a cannon, from the wrong end",
    "stood too close to the soup",
    "discovered that the ladder ended",
    "argued with a whale",
    "went to sleep on a raft",
];

pub(super) const FEATS: [&str; 6] =
    ["Land in Sight", "Dry Feet", "Master of Knots", "One Goat Too Many", "Lamplighter", "It Floats!"];

pub(super) const LEAVING: [&str; 4] = ["Disconnected", "Timed out", "Disconnected", "Disconnected"];

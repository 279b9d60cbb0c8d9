"""The word lists from which the sample model's chats are put together.

Nothing here is clever: long lists of names, places, things and verbs, so that the same
request hardly ever comes twice and the model has to copy arguments instead of knowing them.
"""

from __future__ import annotations


def _words(text: str) -> list[str]:
    """Single words, parted by blanks."""
    return text.split()


def _phrases(text: str) -> list[str]:
    """Phrases parted by bars or line ends."""
    return text.replace("\n", "|").strip("|").split("|")


FIRST_NAMES = _words("""
Aaron Abby Adam Adele Agnes Aisha Alan Albert Alex Alice Amara Amelia Amir Amy Andrea Andrew Angela Anna
Anton Ari Arthur Astrid Ava Barbara Beatrice Ben Bianca Bob Boris Brian Bruno Callum Carla Carlos Carmen
Caroline Cecilia Chandra Charlie Chen Chloe Claire Clara Colin Connor Craig Cyrus Daisy Dan Daniel Daria
David Deborah Denis Diana Diego Dmitri Dora Dylan Edgar Edith Edward Elena Eli Ella Ellen Elsa Emil
Emily Emma Eric Erin Esther Ethan Eva Fatima Felix Fiona Flora Frances Frank Freya Gabriel Gareth George
Gina Gloria Grace Graham Greta Hamid Hannah Harold Harry Hassan Hazel Heidi Helen Henry Hugo Ian Ibrahim
Ida Igor Imogen Ines Ingrid Irene Iris Isaac Ivan Ivy Jack Jacob Jade James Jamila Jan Jane Jasmine
Jason Jean Jenny Jill Jim Joan Joe Johan John Jonas Joseph Josie Joy Juan Judith Julia Karim Karl Kate
Katya Keiko Keith Kemal Kim Klaus Kofi Lara Laura Leah Leila Lena Leo Leon Liam Lila Linda Lisa Lola
Louis Lucas Lucy Luis Luna Lydia Mabel Magda Malik Marco Maria Mario Mark Martha Martin Mary Mateo Matt
Maya Megan Mei Mia Michael Miguel Mila Milo Mina Miriam Mohamed Molly Monica Nadia Naomi Natalie Nathan
Neil Nick Nina Noah Nora Oliver Olga Omar Oscar Otto Owen Pablo Pamela Patrick Paul Paula Pedro Penny
Peter Petra Philip Phoebe Pia Priya Quentin Rachel Rafael Raj Ralph Ravi Rebecca Rita Robert Robin Rosa
Rose Ross Ruby Ruth Ryan Sally Sam Samir Sandra Sara Sasha Scott Sean Selma Serena Shane Sharon Simon
Sofia Sonia Stan Stella Steve Sue Suki Susan Sven Sylvia Tamara Tara Ted Tessa Theo Thomas Tim Tina Toby
Tom Tomas Tony Ulla Uma Ursula Valerie Vera Victor Vikram Viola Walter Wendy Will Willow Xavier Yara
Yasmin Yuki Yusuf Zara Zoe Zoltan
""")

SURNAMES = _words("""
Adams Ahmed Allen Baker Barnes Becker Bell Bennett Berg Brooks Brown Campbell Carter Chang Clark Cole
Cooper Cruz Davies Diaz Dixon Doyle Edwards Ellis Evans Fischer Fleming Flores Ford Foster Fox Garcia
Gibson Gomez Grant Gray Green Griffin Gupta Hall Hansen Harris Hayes Hill Hoffman Holmes Howard Hughes
Hunt Ito Jackson Jansen Jensen Johnson Jones Kaur Kelly Khan King Klein Knight Kovacs Kumar Lane Larsen
Lee Lewis Lopez Mason Meyer Miller Moore Morgan Murphy Murray Nakamura Nash Nguyen Novak Olsen Ortiz
Owens Park Parker Patel Perez Perry Porter Powell Price Quinn Ramos Reed Rivera Robinson Rossi Russell
Sato Schmidt Scott Shah Shaw Silva Singh Smith Stone Suzuki Taylor Thompson Torres Turner Vance Wagner
Walker Wallace Wang Ward Watson Weber Wells White Wilson Wolf Wood Wright Young Zhang Ziegler
""")

RELATIVES = ["Mum", "Dad", "Grandma", "Grandpa", "Mom", "Auntie", "Nan", "Uncle Joe", "Aunt May", "Doctor Lee"]

CITIES = _words("""
Aarhus Accra Adelaide Algiers Amsterdam Ankara Antwerp Athens Auckland Austin Baku Bali Bangkok
Barcelona Basel Bath Beirut Belfast Belgrade Bergen Berlin Bern Bilbao Bogota Bologna Bonn Boston Bremen
Brighton Brisbane Bristol Bruges Brussels Bucharest Budapest Cairo Calgary Cambridge Cardiff Casablanca
Chicago Cologne Copenhagen Cork Dakar Dallas Damascus Delhi Denver Dresden Dublin Dundee Durban
Edinburgh Essen Florence Frankfurt Galway Geneva Genoa Ghent Glasgow Graz Hamburg Hanoi Havana Helsinki
Houston Istanbul Jakarta Kiev Kingston Krakow Kyoto Lagos Leeds Leicester Lima Linz Lisbon Liverpool
London Lusaka Lyon Madrid Malaga Malmo Manchester Manila Marseille Melbourne Miami Milan Montreal Mumbai
Munich Nairobi Nantes Naples Newcastle Nice Norwich Oslo Ottawa Oxford Palermo Paris Perth Pisa Porto
Prague Quito Reading Riga Rome Rotterdam Salzburg Seattle Seoul Seville Sheffield Sofia Split Stockholm
Sydney Tallinn Tokyo Toronto Trieste Tunis Turin Utrecht Valencia Venice Vienna Vilnius Warsaw
Wellington York Zagreb Zurich
""")

SPOTS = _phrases("""
airport|station|library|museum|harbour|hospital|gym|pool|market|stadium|theatre|castle|zoo|beach|bakery
bank|pharmacy|post office|cinema|town hall|school|office|dentist|garage|supermarket|bus stop|city centre
old bridge|park|church|university|hotel|petrol station|garden centre|ferry|swimming pool|tennis club
north gate
""")

STREETS = _phrases("""
Main|Church|Mill|Park|Station|High|King|Queen|River|Oak|Elm|Cedar|Bridge|Castle|Garden|Harbour|Hill|Lake
Market|Meadow|North|Orchard|Rose|School|Spring|Victoria|West|Willow|Windsor|York
""")

APPS = _phrases("""
Maps|Camera|Calendar|Photos|Notes|Clock|Calculator|Settings|Contacts|Messages|Music|Podcasts|Weather
Mail|Files|Browser|Wallet|Health|Translate|Recorder|Chess|Sudoku|Signal|Spotify|Telegram|Duolingo
Netflix|Kindle|Shazam|Strava|Bird Finder|Star Chart|Bike Map|Tide Table|Bus Times|Recipe Box|Sleep Log
Plant Diary|Pocket Bank|Train Planner|Word Puzzle|Ski Tracker|Paint Box|Photo Frame|Budget Book
Guitar Tuner|Night Sky|Run Club
""")

GENRES = _phrases("""
jazz|rock|techno|classical music|piano music|country|folk songs|hip hop|blues|reggae|opera|soul|disco
punk|film music|ambient music|salsa|children's songs|heavy metal|dance music|whale songs|rain sounds
""")

SONG_WORDS = _words("""
Blue Silver Golden Midnight Summer Winter Broken Lonely Electric Paper Velvet Crystal Burning Silent
Wild Little River Moon Heart Road Train Garden Ocean Shadow Mirror Letter Window Fire Rain Stars Morning
Street Dream Dancer Bird Mountain Island Kingdom Harbour Thunder
""")

THINGS = _phrases("""
keys|car|kitchen|washing machine|report|parcel|meeting|cake|bike|door|garden|heating|train|bus|dog|cat
roof|lamp|laptop|printer|ticket|passport|soup|dinner|present|window|fridge|oven|bill|key|suitcase|phone
charger|umbrella|piano|tent|boat|ladder|bathroom|contract|invoice|photo album|blue folder|spare tyre
front door|back gate|coffee machine|shopping list|concert|match|plumber|doctor|gardener|project
presentation|flight|taxi|music lesson
""")

STATES = _phrases("""
ready|late|broken|clean|empty|here|gone|cancelled|locked|open|on the table|under the mat|in the car
in the garage|fixed|too loud|very heavy|on its way|delayed|finished|paid|lost|back|outside|upstairs
next to the sofa|moved to Monday|full|sold|almost done|behind the shed|at the neighbours|leaking
much better today|still warm|on the second shelf
""")

ITEMS = _phrases("""
milk|bread|eggs|butter|cheese|apples|bananas|rice|pasta|coffee|tea|sugar|flour|tomatoes|onions|potatoes
carrots|chicken|fish|yoghurt|olive oil|honey|soap|toothpaste|batteries|candles|light bulbs|stamps
flowers|lemons|garlic|spinach|dog food|cat litter|paper towels|screws|paint|nails|wine|chocolate
biscuits|strawberries|mushrooms
""")

VERBS = _phrases("""
check|fix|clean|bring|move|sell|paint|return|collect|pack|wash|book|cancel|open|close|lock|feed|find
pay for|pick up|look at|ask about|take out|put away|turn off|send back|drop off|tidy up|finish
photograph|measure|order
""")

DAYS = [
    "today",
    "tomorrow",
    "tonight",
    "on Monday",
    "on Tuesday",
    "on Wednesday",
    "on Thursday",
    "on Friday",
    "on Saturday",
    "on Sunday",
    "next week",
    "this weekend",
    "after lunch",
    "before dinner",
    "in an hour",
    "this evening",
    "in the morning",
    "soon",
]

SKIES = ["sunny", "cloudy", "rainy", "foggy", "windy", "snowy", "clear", "stormy"]

ERRORS = [
    "no network",
    "not allowed",
    "no such contact",
    "no such app",
    "the battery is low",
    "not found",
    "the service is busy",
    "no permission",
    "the phone is locked",
    "nothing was found",
]

SYSTEM_TEXTS = [
    "You are a phone assistant.",
    "You are a helpful assistant on a phone.",
    "Use the tools when they fit.",
    "Answer briefly.",
    "You control this phone. Keep answers short.",
    "You are Gem, a small assistant.",
]

SYLLABLES = _words("""
ba be bi bo da de di do fa fe fi fo ga go ha he hi ka ke ki ko la le li lo lu ma me mi mo mu na ne ni no
pa pe ra re ri ro ru sa se si so ta te ti to tu va ve vi vo wa ya yo za ze zi zo bran dal fen gar hol
jor kel lin mar nor pel quin ras sten tor ul vin wen yar zan
""")

HOURS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]

ONES = ["", *HOURS, "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]

TENS = {20: "twenty", 30: "thirty", 40: "forty", 50: "fifty", 60: "sixty", 70: "seventy", 80: "eighty", 90: "ninety"}

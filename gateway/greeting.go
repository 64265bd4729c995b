package gateway

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a greeting may be made of at most.
const (
	maxGreeting      = 200 // bytes of the text
	maxGreetingWords = 40
)

// greetingOnly reports whether a text is nothing but greetings, thanks,
// goodbyes and oks, in any case, with or without accents, punctuation, emoji
// and repeated letters. A text that asks something is none.
func greetingOnly(text string) bool {
	if len(text) > maxGreeting || strings.ContainsAny(text, "?？؟¿") {
		return false
	}
	words := greetingWords(text)
	if len(words) == 0 || len(words) > maxGreetingWords {
		return false
	}
	// What the words up to each place are: no phrases, such as only go with a
	// greeting, or with a greeting among them.
	const (
		nothing = iota
		company
		greeting
	)
	upTo := make([]int, len(words)+1)
	upTo[0] = company
	for end := 1; end <= len(words); end++ {
		for begin := max(0, end-greetings.longest); begin < end; begin++ {
			if upTo[begin] == nothing {
				continue
			}
			switch phrase := strings.Join(words[begin:end], " "); {
			case greetings.alone[phrase]:
				upTo[end] = greeting
			case greetings.beside[phrase]:
				upTo[end] = max(upTo[end], upTo[begin])
			}
		}
	}
	return upTo[len(words)] == greeting
}

// emoticons are smileys that are made of letters and digits.
var emoticons = strings.NewReplacer(":D", " ", ":-D", " ", ":P", " ", ":-P", " ", ":p", " ", ";P", " ", "xD", " ", "XD", " ", "<3", " ", ":3", " ", ":o", " ", ":O", " ")

// greetingWords returns the words of a text as the table has them: in lower
// case, without accents, each letter once where it is repeated. Of scripts that
// put no blanks between words each character is one.
func greetingWords(text string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, string(word))
			word = nil
		}
	}
	for text = emoticons.Replace(text); len(text) > 0; {
		if n := emojiAt(text); n > 0 {
			text = text[n:]
			end()
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch r = bare(r); {
		case r == 0 || len(word) > 0 && word[len(word)-1] == r:
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai):
			end()
			words = append(words, string(r))
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == unicode.ReplacementChar:
			word = append(word, r)
		default:
			end()
		}
	}
	end()
	return words
}

// bare returns a letter in lower case and without its accent, or 0 for what is
// not heard: accents of their own, apostrophes, and marks that lengthen.
func bare(r rune) rune {
	r = unicode.ToLower(r)
	if base, ok := bareLetters[r]; ok {
		return base
	}
	switch {
	case r >= 0x1ea0 && r <= 0x1ef9: // Vietnamese
		for _, x := range [...]struct{ last, base rune }{{0x1eb7, 'a'}, {0x1ec7, 'e'}, {0x1ecb, 'i'}, {0x1ee3, 'o'}, {0x1ef1, 'u'}} {
			if r <= x.last {
				return x.base
			}
		}
		return 'y'
	case r >= 0x300 && r <= 0x36f, r >= 0x64b && r <= 0x652, r >= 0x591 && r <= 0x5c7: // accents, vowels of Arabic and Hebrew
		return 0
	default:
		return r
	}
}

var bareLetters = func() map[rune]rune {
	m := map[rune]rune{'\'': 0, '’': 0, '`': 0, '´': 0, 'ー': 0, '〜': 0, 'ـ': 0, '\u200c': 0, '\u200d': 0, '\ufe0f': 0}
	for base, accented := range map[rune]string{
		'a': "àáâãäåāăąả", 'c': "çćč", 'd': "ďđð", 'e': "èéêëēĕėęě", 'g': "ğģ", 'i': "ìíîïĩīįı\u0130", 'k': "ķ", 'l': "ĺľļł",
		'n': "ñńňņ", 'o': "òóôõöøōőơ", 'r': "ŕřŗ", 's': "śšşșß", 't': "ťţț", 'u': "ùúûüũūůűųư", 'y': "ýÿ", 'z': "źžż",
		'α': "ά", 'ε': "έ", 'η': "ή", 'ι': "ίϊΐ", 'ο': "ό", 'υ': "ύϋΰ", 'ω': "ώ", 'σ': "ς", 'е': "ё",
		'ا': "أإآ", 'ه': "ة", 'ي': "ىئ",
	} {
		for _, r := range accented {
			m[r] = base
		}
	}
	return m
}()

// A phrasebook is a table of phrases in the form of greetingWords.
type phrasebook struct {
	alone, beside map[string]bool
	longest       int // in words
}

var greetings = newPhrasebook(greetingPhrases, greetingCompany)

func newPhrasebook(alone, beside []string) phrasebook {
	var t phrasebook
	read := func(lists []string) map[string]bool {
		out := map[string]bool{}
		for _, list := range lists {
			for phrase := range strings.SplitSeq(list, ",") {
				words := greetingWords(phrase)
				out[strings.Join(words, " ")] = true
				t.longest = max(t.longest, len(words))
			}
		}
		return out
	}
	t.alone, t.beside = read(alone), read(beside)
	return t
}

// greetingPhrases are what greets, thanks, takes leave or says ok, a language a
// line. What is as likely an answer (yes, no, fine, perfect, tomorrow morning)
// is not among them.
var greetingPhrases = []string{
	// English
	"hi,hello,helo,hey,hiya,heya,howdy,hi there,hey there,good morning,good afternoon,good evening,good day,good night,greetings",
	"thanks,thank you,thank you so much,thank you very much,thanks a lot,many thanks,thanks so much,thx,thnx,tnx,ty,tysm,cheers,much appreciated",
	"ok,okay,okey,oki,okie,okie dokie,k,kk,alright,all right,got it,noted,bye,bye bye,goodbye,see you,see you later,see ya,have a nice day,have a good day,have a great day,have a good one,you too,same to you,youre welcome,you are welcome",
	// Spanish
	"hola,ola,holi,buenas,buenos días,buen día,buenas tardes,buenas noches,muy buenas,qué tal,saludos,gracias,muchas gracias,mil gracias,gracias a ti,gracias a usted,muchísimas gracias,grax,de nada,vale,okis,de acuerdo,adiós,hasta luego,hasta pronto,chao,chau,que tengas buen día,buena tarde",
	// Portuguese
	"olá,oi,oie,bom dia,boa tarde,boa noite,e aí,obrigado,obrigada,muito obrigado,muito obrigada,obg,obgd,brigado,brigada,valeu,vlw,tudo bem,beleza,blz,tá bom,está bem,combinado,tchau,até logo,até mais,até breve,de nada",
	// French
	"bonjour,bonsoir,salut,coucou,bjr,slt,bsr,bonne nuit,bonne journée,bonne soirée,merci,merci beaucoup,merci bien,mille mercis,mrc,un grand merci,je vous remercie,daccord,dac,entendu,ça marche,de rien,je vous en prie,au revoir,à bientôt,à plus,bonne fin de journée",
	// German
	"hallo,halo,hallöchen,moin,moin moin,servus,grüß gott,grüezi,guten morgen,guten tag,guten abend,gute nacht,danke,danke schön,dankeschön,vielen dank,herzlichen dank,danke sehr,besten dank,tausend dank,alles klar,in ordnung,okidoki,gern geschehen,tschüss,tschau,auf wiedersehen,bis bald,bis dann,schönen tag,schönen tag noch,einen schönen tag,liebe grüße,viele grüße,lg,vg,mfg",
	// Italian
	"ciao,salve,buongiorno,buon giorno,buonasera,buona sera,buonanotte,buona notte,buon pomeriggio,grazie,grazie mille,mille grazie,tante grazie,ti ringrazio,la ringrazio,va bene,daccordo,di nulla,arrivederci,a presto,buona giornata,buona serata",
	// Dutch
	"hoi,hallo,goedemorgen,goedemiddag,goedenavond,goedendag,goede morgen,goeie morgen,dank je,dank u,dank je wel,dankjewel,dankuwel,bedankt,hartelijk dank,heel erg bedankt,oke,prima,is goed,graag gedaan,doei,tot ziens,tot straks,fijne dag,fijne avond",
	// Swedish, Danish, Norwegian, Finnish
	"hej,hejsan,hei,hejhej,god morgon,god morgen,god dag,god kväll,god aften,tack,tack så mycket,tak,tusen tack,tusind tak,takk,tusen takk,mange tak,hej då,hejdå,ha det,moi,moikka,terve,hyvää päivää,huomenta,kiitos,kiitti,paljon kiitoksia",
	// Polish
	"cześć,czesc,hejka,witam,witaj,siema,dzień dobry,dobry wieczór,dobranoc,dzięki,dziękuję,dziękuję bardzo,wielkie dzięki,dobrze,w porządku,nie ma za co,do widzenia,do zobaczenia,na razie,miłego dnia,pozdrawiam",
	// Czech, Slovak
	"ahoj,čau,dobrý den,dobré ráno,dobrý večer,dobrou noc,děkuji,díky,moc děkuji,ďakujem,dobrý deň,na shledanou,dobře,nemáte zač",
	// Romanian
	"bună,buna ziua,bună dimineața,bună seara,salutare,noapte bună,mulțumesc,mulțumesc mult,mersi,merci mult,la revedere,cu plăcere",
	// Turkish
	"merhaba,merhabalar,selam,selamlar,selamün aleyküm,aleyküm selam,iyi günler,günaydın,iyi akşamlar,iyi geceler,iyi çalışmalar,teşekkürler,teşekkür ederim,çok teşekkürler,çok teşekkür ederim,sağol,sağ ol,sağolun,eyvallah,tşk,tamam,tamamdır,peki,rica ederim,görüşürüz,hoşça kal,kolay gelsin",
	// Russian
	"привет,приветик,здравствуйте,здравствуй,здрасте,добрый день,добрый вечер,доброе утро,доброго дня,доброй ночи,спокойной ночи,салют,хай,спасибо,спасибо большое,большое спасибо,спс,благодарю,огромное спасибо,ок,окей,хорошо,ладно,понятно,ясно,не за что,пока,до свидания,всего доброго,до встречи,хорошего дня",
	// Ukrainian
	"привіт,вітаю,добридень,добрий день,доброго ранку,добрий ранок,добрий вечір,доброго дня,на добраніч,дякую,дуже дякую,щиро дякую,дякую дуже,гаразд,добре,зрозуміло,до побачення,гарного дня,бувайте",
	// Greek
	"γεια,γεια σου,γεια σας,καλημέρα,καλησπέρα,καληνύχτα,χαίρετε,ευχαριστώ,ευχαριστώ πολύ,σας ευχαριστώ,εντάξει,οκ,αντίο,παρακαλώ,yia sou,geia sou,geia,kalimera,kalispera,efxaristo,efharisto",
	// Arabic
	"مرحبا,مرحبتين,اهلا,أهلا وسهلا,هلا,هاي,السلام عليكم,سلام عليكم,السلام عليكم ورحمة الله,السلام عليكم ورحمة الله وبركاته,وعليكم السلام,سلام,صباح الخير,صباح النور,مساء الخير,مساء النور,تصبح على خير,شكرا,شكرا جزيلا,شكرا لك,شكرا لكم,الف شكر,مشكور,يعطيك العافية,جزاك الله خيرا,تمام,اوكي,حسنا,عفوا,مع السلامة,salam,salam alaikum,assalamu alaikum,assalam alaikum,salaam,marhaba,shukran,shokran",
	// Hebrew
	"סלאם,שלום,היי,הי,אהלן,בוקר טוב,צהריים טובים,ערב טוב,לילה טוב,תודה,תודה רבה,המון תודה,תודה לך,אוקיי,אוקי,בסדר,בסדר גמור,סבבה,להתראות,ביי,יום טוב",
	// Persian
	"سلام,درود,صبح بخیر,شب بخیر,عصر بخیر,ممنون,مرسی,متشکرم,سپاس,خیلی ممنون,باشه,خداحافظ",
	// Hindi
	"नमस्ते,नमस्कार,प्रणाम,हाय,हैलो,हेलो,राम राम,सुप्रभात,शुभ प्रभात,शुभ रात्रि,धन्यवाद,शुक्रिया,बहुत धन्यवाद,बहुत बहुत धन्यवाद,ठीक है,ओके,अलविदा,namaste,namaskar,namasthe,dhanyavad,dhanyawad,shukriya,theek hai,thik hai,thik h,ram ram,accha,shubh prabhat",
	// Indonesian, Malay
	"halo,hai,hallo,selamat pagi,selamat siang,selamat sore,selamat malam,selamat petang,assalamualaikum,waalaikumsalam,waalaikum salam,terima kasih,terimakasih,makasih,makasi,trims,tq,terima kasih banyak,makasih banyak,oke,baik,baiklah,siap,sama sama,sampai jumpa,dadah",
	// Swahili
	"habari,habari yako,jambo,hujambo,mambo,shikamoo,asante,asante sana,ahsante,sawa,sawa sawa,karibu,kwaheri,usiku mwema",
	// Vietnamese
	"xin chào,chào,chào bạn,chào anh,chào chị,chào em,chào shop,alo,cảm ơn,cám ơn,cảm ơn bạn,cảm ơn nhiều,cảm ơn anh,cảm ơn chị,cảm ơn shop,tạm biệt,chúc ngủ ngon",
	// Thai
	"สวัสดี,สวัสดีครับ,สวัสดีค่ะ,หวัดดี,ดีครับ,ดีค่ะ,ขอบคุณ,ขอบคุณครับ,ขอบคุณค่ะ,ขอบคุณมาก,ขอบคุณมากครับ,ขอบคุณมากค่ะ,โอเค,โอเคครับ,โอเคค่ะ",
	// Filipino
	"kamusta,kumusta,magandang umaga,magandang hapon,magandang gabi,magandang araw,salamat,maraming salamat,salamat po,sige,sige po,paalam",
	// Chinese
	"你好,您好,你们好,大家好,哈喽,哈啰,嗨,嘿,早,早上好,早安,上午好,中午好,下午好,晚上好,晚安,谢谢,謝謝,谢谢你,谢谢您,謝謝你,謝謝您,多谢,多謝,非常感谢,感谢,感謝,太感谢了,不客气,好的,好,好的好的,收到,明白,明白了,知道了,再见,再見,拜拜,早晨,唔該,多謝晒",
	// Japanese
	"こんにちは,こんにちわ,こんばんは,おはよう,おはようございます,はじめまして,やあ,もしもし,ありがとう,ありがとうございます,ありがとうございました,どうもありがとうございます,どうも,感謝します,了解,了解です,了解しました,承知しました,わかりました,分かりました,オッケー,おやすみ,おやすみなさい,さようなら,またね,よろしくお願いします,よろしくお願いいたします,お世話になります,お世話になっております",
	// Korean
	"안녕,안녕하세요,안녕하십니까,여보세요,하이,반갑습니다,좋은 아침,좋은 아침입니다,감사,감사합니다,감사해요,고마워,고마워요,고맙습니다,정말 감사합니다,오케이,네 감사합니다,네 알겠습니다,넵 감사합니다,알겠습니다,알겠어요,안녕히 가세요,안녕히 계세요,수고하세요",
}

// greetingCompany are what only goes with a greeting: whom it is for, and
// whatever says it again.
var greetingCompany = []string{
	"there,all,everyone,everybody,team,guys,folks,sir,madam,maam,miss,mr,mrs,dear,friend,mate,again,so much,very much,a lot,great,perfect,cool,lovely,awesome,then,and,too,x,xx",
	"señor,señora,señorita,a todos,amigo,amiga,muy amable,perfecto,genial,y,tudo bom,senhor,senhora,gente,pessoal,perfeito,madame,monsieur,mademoiselle,à tous,tout le monde,messieurs,parfait,super,et,beaucoup",
	"zusammen,liebe,liebes team,ihr lieben,allerseits,perfekt,prima,und,noch,tutti,a tutti,perfetto,e,allemaal,en,hocam,efendim,abi,abla,kak,min,gan,pak,bu,bang,ji,bhai,sir ji,po,ครับ,ค่ะ,คะ,啊,呀,哦,喔,啦,了,です,ね,よ,님,네,넵",
}
